"""Messages of data loaders, saved weights and Keras' own checks."""

from __future__ import annotations

import re

from convscope.symptoms.message import Message, Scene, Values, by, numbers


def _keys(v: Values, scene: Scene) -> Values:
    """Which names are missing, which are too many, and whether a prefix is all that differs."""
    missing = re.findall(r'"([^"]+)"', (re.search(r"Missing key\(s\) in state_dict: ([^\n]*)", scene.text) or ["", ""])[1])
    extra = re.findall(r'"([^"]+)"', (re.search(r"Unexpected key\(s\) in state_dict: ([^\n]*)", scene.text) or ["", ""])[1])
    sizes = re.findall(r"size mismatch for ([^:]+): copying a param with shape torch\.Size\((\[[\d, ]*\])\) from checkpoint"
                       r", the shape in current model is torch\.Size\((\[[\d, ]*\])\)", scene.text)
    said: Values = {"kind": v["kind"], "missing": len(missing), "unexpected": len(extra), "sizes": len(sizes)}
    for prefix in ("module.", "_orig_mod.", "model.", "net.", "backbone."):
        if missing and {n.removeprefix(prefix) for n in extra} >= set(missing) and all(n.startswith(prefix) for n in extra):
            whose = {"module.": "DataParallel", "_orig_mod.": "torch.compile"}.get(prefix, "a module around it")
            return said | {"cause": f"every saved name begins with {prefix!r} ({whose} was saved); the rest is the same",
                           "remedy": "take the prefix off",
                           "code": f'+state = {{k.removeprefix("{prefix}"): v for k, v in state.items()}}\n'
                           "+model.load_state_dict(state)"}
    if sizes:
        name, saved, mine = sizes[0]
        more = f" and {len(sizes) - 1} more" if len(sizes) > 1 else ""
        saved, mine = by(numbers(saved)), by(numbers(mine))
        return said | {"where": name,
                       "remedy": "build the model as it was saved, load it, and only then replace its last layer",
                       "cause": f"{name!r} is {saved} in the file and {mine} in the model{more}: another number of "
                                "classes or channels",
                       "code": "-model = build(num_classes=mine)\n+model = build(num_classes=saved)\n"
                               "+model.load_state_dict(state)\n+model.fc = nn.Linear(model.fc.in_features, mine)"}
    lacks = f"{len(missing)} of the model's names are not in the file ({_some(missing)})" if missing else ""
    many = f"{len(extra)} names in the file are not the model's ({_some(extra)})" if extra else ""
    return said | {"cause": " and ".join(part for part in (lacks, many) if part) or "names or shapes differ",
                   "remedy": "build the model as it was saved; strict=False would silently leave what is missing at its "
                             "random start"}


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")


def _stack(v: Values, _: Scene) -> Values:
    return {"a": by(numbers(v["a"])), "b": by(numbers(v["b"]))}


def _keras_axis(v: Values, _: Scene) -> Values:
    shape = numbers(v["shape"])
    last = f"channels stand last in Keras: (B, H, W, {v['wanted']})" if len(shape) == 4 else "the last axis counts features"
    return {"shape": by(shape), "last": last, "where": v["layer"]}


MESSAGES = (
    Message(r"Error\(s\) in loading state_dict for (?P<kind>\w+)", "", "saved weights do not fit {kind}", "", "", "",
            "the model's state_dict() has the same names and shapes as the file", _keys,
            ("missing", "unexpected", "sizes")),
    Message(r"stack expects each tensor to be equal size, but got (?P<a>\[[\d, ]*\]) at entry 0 and (?P<b>\[[\d, ]*\]) "
            r"at entry (?P<at>\d+)", "D11", "examples of a batch have different sizes: {a} and {b}",
            "a batch is one array, so all its examples have one shape: images of different sizes or grey among colour, "
            "sequences of different length", "resize and crop images in the data set; pad sequences in collate_fn",
            "+transforms.Resize(256), transforms.CenterCrop(224)\n or:\n+collate_fn=lambda batch: pad_sequence(batch, "
            "batch_first=True)", "all examples have one shape", _stack, ("a", "b")),
    Message(r"default_collate: batch must contain tensors.*found <class '(?P<kind>[\w.]+)'>", "",
            "the data set returns {kind}", "a batch is made of tensors, arrays and numbers: ToTensor is missing, or "
            "__getitem__ returns nothing", "return tensors", "+transform = transforms.ToTensor()", "", None, ("kind",)),
    Message(r"num_samples should be a positive integer value, but got num_samples=0", "", "the data set is empty",
            "len(dataset) is 0: a wrong folder or pattern, or a filter that leaves nothing",
            "look at len(dataset) and at the path", "+assert len(dataset) > 0", "len(dataset) > 0"),
    Message(r"expected sequence of length (?P<a>\d+) at dim \d+ \(got (?P<b>\d+)\)", "D10", "rows of {a} and {b} numbers",
            "a tensor is rectangular, and these rows have different lengths", "pad them",
            "+pad_sequence(rows, batch_first=True)", "", None, ("a", "b")),
    Message(r"Data cardinality is ambiguous.*?'?x'? sizes: (?P<x>[\d, ]+).*?'?y'? sizes: (?P<y>[\d, ]+)", "D7",
            "{x} inputs and {y} targets", "every input has one target; rows were dropped from one of the two only, so "
            "all pairs after it are wrong too", "filter and split both with the same indices", "+x, y = x[keep], y[keep]",
            "len(x) == len(y), and the pairs belong together", None, ("x", "y")),
    Message(r"Input \d+ (?:with name '[^']*' )?of layer \"?'?(?P<layer>[\w.]+)\"?'? is incompatible with the layer: "
            r"expected axis (?P<axis>-?\d+) of input shape to have value (?P<wanted>\d+),? but received input with "
            r"shape \(?(?P<shape>[\dNone, ]+)", "A9",
            "Keras layer '{layer}' reads {wanted} at axis {axis} and gets {shape}", "{last}",
            "change the input's shape, or the layer's", "+x = x.reshape(…, {wanted})", "x.shape[{axis}] is {wanted}",
            _keras_axis, ("wanted", "shape")),
    Message(r"Input \d+ (?:with name '[^']*' )?of layer \"?'?(?P<layer>[\w.]+)\"?'? is incompatible with the layer: "
            r"expected (?P<which>min_)?ndim=(?P<wanted>\d+), found ndim=(?P<got>\d+)", "A9",
            "Keras layer '{layer}' wants {wanted} axes and gets {got}",
            "an axis is missing: the channel of grey images, or the batch of a single one", "add it",
            "+x = x[..., None]   # channel\n+x = x[None]        # batch", "x.ndim is {wanted}",
            lambda v, _: {"where": v["layer"]}, ("wanted", "got")),
    Message(r"Computed output size would be zero or negative.*?inputs shape=\((?P<shape>[\dNone, ]+)\)`?, `?kernel "
            r"shape=\((?P<kernel>[\d, ]+)\)", "A10", "Keras: a kernel of {kernel} on maps of {shape}",
            "the maps have shrunk below the kernel", "fewer poolings, or padding='same'", '+padding="same"', "", None,
            ("shape", "kernel")),
    Message(r"You must call `?compile\(\)`? before", "", "the Keras model has no loss and optimiser yet",
            "compile() gives it both", "compile it first",
            '+model.compile("adam", loss="sparse_categorical_crossentropy")', ""),
)
