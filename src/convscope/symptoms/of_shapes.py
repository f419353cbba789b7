"""Messages about sizes that do not fit between layers: which layer, what it gets, what it was made for."""

from __future__ import annotations

import math

from convscope.symptoms.message import Message, Scene, Values, assigned, by, numbers
from convscope.symptoms.parts import CONVOLUTION, DENSE, EMBEDDING, JOIN, NORM, POOL, RECURRENT


def _dense(v: Values, scene: Scene) -> Values:
    """mat1 is (B, features), mat2 the transposed weight (inputs, outputs)."""
    rows, features, inputs, outputs = v["rows"], v["features"], v["inputs"], v["outputs"]
    named = scene.name(DENSE, "a dense layer", inputs=inputs, outputs=outputs)
    suspects = scene.suspects(DENSE, inputs=inputs, outputs=outputs)
    name = suspects[0].name if len(suspects) == 1 else ""
    said: Values = {"layer": named, "where": scene.module or name or scene.source}
    old, new = f"nn.Linear({inputs}, {outputs})", f"nn.Linear({features}, {outputs})"
    said["code"] = f"-{assigned(name, old)}\n+{assigned(name, new)}" if name else f"-{old}\n+{new}"
    given = scene.given if scene.given and scene.given[-1] == features else None
    if given and len(given) > 2:
        flat = math.prod(given[1:])
        said["cause"] = (f"{named} gets {by(given)}: a dense layer multiplies the last axis only, so the maps must be "
                         f"flattened before it; flattened they are {flat} features an example")
        said["remedy"] = f"flatten before {named}" + ("" if flat == inputs else f", and give it {flat} inputs")
        said["code"] = "+x = x.flatten(1)" if flat == inputs else f"+x = x.flatten(1)\n-{old}\n+nn.Linear({flat}, {outputs})"
    elif rows == inputs:
        said["cause"] = f"{named} wants {inputs} features, and {inputs} is the number of rows: the axes are exchanged"
        said["remedy"], said["code"] = "give it (B, features)", "-x = fc(x)\n+x = fc(x.T)"
    elif (maps := _maps(features, inputs, name, scene)) is not None:
        said["cause"] = maps
    return said


def _maps(features: int, inputs: int, name: str, scene: Scene) -> str | None:
    """16 channels of 4×4 where 5×5 were counted on: images of another size."""
    at = next((i for i, p in enumerate(scene.parts) if p.name == name), len(scene.parts))
    before = [p for p in scene.parts[:at] if p.family == CONVOLUTION and p.outputs]
    if not before or features % (c := int(before[-1].outputs or 1)) or inputs % c:
        return None
    had, wanted = (math.isqrt(n // c) for n in (features, inputs))
    if had**2 * c != features or wanted**2 * c != inputs:
        return None
    opened = f"; the network was opened with {by(scene.opened[1:])}" if scene.opened and len(scene.opened) == 4 else ""
    return (f"flattening gives {features} = {c}×{had}×{had} features, and the layer was made for "
            f"{inputs} = {c}×{wanted}×{wanted}: the images are of another size than it was counted for{opened}, or a "
            f"pooling or stride was changed")


def _convolution(v: Values, scene: Scene) -> Values:
    weight, given = numbers(v["weight"]), numbers(v["given"])
    wanted, channels, groups = v["wanted"], v["channels"], v["groups"]
    outputs = weight[1] * groups if v["transposed"] else weight[0]
    suspects = scene.suspects(CONVOLUTION, weight=weight)  # type: ignore[arg-type]
    name = suspects[0].name if len(suspects) == 1 else ""
    named = scene.name(CONVOLUTION, f"the convolution with {wanted} input channels", weight=weight)  # type: ignore[arg-type]
    kind = f"nn.Conv{'Transpose' if v['transposed'] else ''}{len(weight) - 2}d"
    kernel = ", ".join(map(str, weight[2:])) if len(set(weight[2:])) > 1 else str(weight[2])
    kernel = f"({kernel})" if "," in kernel else kernel
    old, new = (assigned(name, f"{kind}({c}, {outputs}, {kernel})") for c in (wanted, channels))
    said: Values = {"layer": named, "where": scene.module or name or scene.source, "shape": by(given),
                    "code": f"-{old}\n+{new}", "remedy": f"let {named} read {channels} channels, or change what it is given"}
    whole = scene.given  # torch adds a batch axis of 1 before it complains
    if len(given) == 4 and given[-1] == wanted != given[-2]:
        said["cause"] = f"the images are stored channels last, {by(given)}: torch reads (B, C, H, W)"
        said["remedy"], said["code"] = "move the channels to axis 1", "+x = x.permute(0, 3, 1, 2)"
    elif given[0] == 1 and (whole is None or len(whole) < len(given)):
        said["cause"] = (f"{by(given[1:])} has one axis too few and was read as a single image of {channels} channels; "
                         f"{named} wants (B, {wanted}, …)")
        said["remedy"], said["code"] = "add the axis that is missing: channels, or the batch", (
            "+x = x.unsqueeze(1)  # (B, H, W) -> (B, 1, H, W)")
    elif (wanted, channels) == (3, 1):
        said["cause"] = f"the images are grey and {named} was made for colour"
        said["remedy"] = "repeat the grey channel (pretrained weights stay useful), or make the layer for one channel"
        said["code"] = f"+x = x.expand(-1, 3, -1, -1)\n or:\n-{old}\n+{new}"
    elif (wanted, channels) in ((1, 3), (1, 4), (3, 4)):
        fewer = "RGB" if wanted == 3 else "L"
        said["cause"] = f"the images have {channels} channels ({'with transparency' if channels == 4 else 'colour'})"
        said["remedy"], said["code"] = "convert them when they are read", f'+image = image.convert("{fewer}")'
    return said


def _view(v: Values, scene: Scene) -> Values:
    wanted = numbers(v["shape"])
    known = math.prod(n for n in wanted if n != -1)
    first = scene.given[0] if scene.given else None
    each = f" ({v['size'] // first} for each of {first} examples)" if first and v["size"] % first == 0 else ""
    said: Values = {"known": known, "each": each, "whose": "", "dims": ", ".join(map(str, wanted))}
    if len(wanted) != 2 or wanted[0] != -1:
        return said
    reader = scene.suspects(DENSE, inputs=known)
    whose = f"; {scene.name(DENSE, '', inputs=known)} reads {known}" if reader else ""
    return said | {"whose": whose, "code": f"-x = x.view({said['dims']})\n+x = x.flatten(1)"}


def _kernel(v: Values, scene: Scene) -> Values:
    named = scene.name(CONVOLUTION, "a convolution")
    return {"layer": named if scene.module else f"a convolution with a {by(numbers(v['kernel']))} kernel",
            "smaller": by(numbers(v["size"])), "kernel": by(numbers(v["kernel"]))}


def _pool(v: Values, scene: Scene) -> Values:
    return {"layer": scene.name(POOL, "a pooling layer") if scene.module else "a pooling layer",
            **{key: by(numbers(v[key])) for key in ("size", "out")}}


def _broadcast(v: Values, scene: Scene) -> Values:
    """Joins of the network whose sizes along that axis may differ; or a loss."""
    if "loss" in scene.module.lower():
        return {"where": scene.module, "layer": "the loss", "near": "", "fault": "O7",
                "cause": f"outputs have {v['a']} values where the targets have {v['b']}",
                "remedy": "let the last layer have as many outputs as an example has targets",
                "code": f"-nn.Linear(…, {v['a']})\n+nn.Linear(…, {v['b']})"}
    joins = [f"'{p.name}'" for p in scene.parts if p.family == JOIN]
    near = f"; sums and joins of this network: {', '.join(joins[:4])}" if joins else ""
    return {"layer": f"in '{scene.module}'" if scene.module else "in a sum or a loss", "near": near}


def _norm(v: Values, scene: Scene) -> Values:
    return {"layer": scene.name(NORM, f"the batch norm over {v['made']} channels", inputs=v["made"])}


def _embedding(_: Values, scene: Scene) -> Values:
    found = scene.suspects(EMBEDDING)
    size = f" ({found[0].inputs} rows: indices 0 … {(found[0].inputs or 1) - 1})" if len(found) == 1 else ""
    return {"layer": scene.name(EMBEDDING, "an embedding") + size}


def _recurrent(v: Values, scene: Scene) -> Values:
    return {"layer": scene.name(RECURRENT, f"the recurrent layer with input_size {v['wanted']}", inputs=v["wanted"])}


MESSAGES = (
    Message(r"mat1 and mat2 shapes cannot be multiplied \((?P<rows>\d+)x(?P<features>\d+) and "
            r"(?P<inputs>\d+)x(?P<outputs>\d+)\)", "A9", "{layer} was made for {inputs} features and gets {features}",
            "what comes before {layer} makes {features} numbers an example (a batch of {rows}), not {inputs}",
            "make {layer} for {features} features, or change what comes before it", "",
            "the shape just before the layer, printed once, ends in {inputs}", _dense, ("features", "inputs", "outputs")),
    Message(r"a and b must have same reduction dim, but got \[(?P<rows>\d+), (?P<features>\d+)\] X "  # torch.compile
            r"\[(?P<inputs>\d+), (?P<outputs>\d+)\]", "A9", "{layer} was made for {inputs} features and gets {features}",
            "what comes before {layer} makes {features} numbers an example, not {inputs}",
            "make {layer} for {features} features, or change what comes before it", "",
            "the shape just before the layer ends in {inputs}", _dense, ("features", "inputs", "outputs")),
    Message(r"Given (?:groups=(?P<groups>\d+)|transposed=(?P<transposed>\d)), weight of size (?P<weight>\[[\d, ]+\]), "
            r"expected input(?P<given>\[[\d, ]+\]) to have (?P<wanted>\d+) channels, but got (?P<channels>\d+)", "A9",
            "{layer} reads {wanted} channels and gets {channels}",
            "the input is {shape}: axis 1 counts its channels, and there are {channels}", "", "",
            "the input's shape at this layer has {wanted} at axis 1",
            lambda v, s: _convolution({"groups": 1, "transposed": 0} | v, s), ("wanted", "channels", "shape")),
    Message(r"Expected 3D \(unbatched\) or 4D \(batched\) input to conv2d, but got input of size: (?P<shape>\[[\d, "
            r"]+\])", "A9", "a convolution gets {shape}", "images come as (B, C, H, W), four axes",
            "reshape the input to four axes", "+x = x.reshape(B, C, H, W)", "x.shape has four entries", None, ("shape",)),
    Message(r"Calculated padded input size per channel: \((?P<size>[\d x]+)\)\. Kernel size: \((?P<kernel>[\d x]+)\)",
            "A10", "{layer} slides a {kernel} kernel over maps of {smaller}", "the maps have shrunk below the kernel: "
            "too many strides and poolings for images of this size, or images too small",
            "drop a pooling or a stride before it, pad, or feed larger images",
            '+padding="same"  # or one MaxPool2d fewer',
            "the map before this layer is at least {kernel} (`convscope trace` lists the sizes)", _kernel,
            ("smaller", "kernel")),
    Message(r"Given input size: \((?P<size>[\dx]+)\)\. Calculated output size: \((?P<out>[\dx-]+)\)\. Output size is "
            r"too small", "A10", "{layer} would make maps of {out} from {size}",
            "the maps (channels×height×width: {size}) are smaller than the window: pooled down too early",
            "drop a pooling or a stride before it, or feed larger images", "-nn.MaxPool2d(2),",
            "the map before this layer is at least as large as its window", _pool, ("size", "out")),
    Message(r"pad should be at most half of (?:effective )?kernel size, but got pad=(?P<pad>\d+), "
            r"kernel_size=(?P<kernel>\d+)", "A9", "a pooling pads {pad} around a window of {kernel}",
            "padding of more than half a window pools nothing but zeros", "pad by at most half the window",
            "-padding={pad}\n+padding={kernel} // 2", "", None, ("pad", "kernel")),
    Message(r"shape '(?P<shape>\[[-\d, ]+\])' is invalid for input of size (?P<size>\d+)", "A9",
            "{size} numbers cannot be laid out as {shape}",
            "the tensor holds {size} numbers{each}; the sizes that are written down multiply to {known}{whose}",
            "let the batch axis be what it is and flatten the rest; then correct the next layer's inputs",
            "-x = x.view({dims})", "{size} is a multiple of {known}", _view, ("size", "known")),
    Message(r"view size is not compatible with input tensor's size and stride", "",
            "a view of a tensor whose numbers do not lie in that order",
            "after transpose or permute, memory keeps its old order, and view does not copy",
            "use reshape; and make sure that mixing these axes is meant: view is no permutation",
            "-x.view(…)\n+x.reshape(…)"),
    Message(r"Sizes of tensors must match except in dimension (?P<axis>\d+)\. Expected size (?P<a>\d+) but got size "
            r"(?P<b>\d+) for tensor number (?P<number>\d+)", "A9",
            "joined along axis {axis}, the parts have sizes {a} and {b} along another axis",
            "part {number} of the concatenation comes from a path whose stride, padding or pooling differs{near}",
            "give both paths the same sizes: same strides, padding=k // 2 for odd kernels, or crop or resize one of "
            "them", "+b = F.interpolate(b, size=a.shape[-2:])", "all parts agree in every axis but {axis}",
            _broadcast, ("axis", "a", "b")),
    Message(r"The size of tensor a \((?P<a>\d+)\) must match the size of tensor b \((?P<b>\d+)\) at non-singleton "
            r"dimension (?P<axis>\d+)", "A9", "{layer}: sizes {a} and {b} meet along axis {axis}",
            "an elementwise operation needs equal sizes, or 1, along axis {axis}{near}",
            "print both shapes; a shortcut needs the same channels and stride as its block, a loss the same shape as "
            "its targets", "+shortcut = nn.Conv2d({b}, {a}, 1, stride=…)", "both shapes are equal",
            _broadcast, ("a", "b", "axis")),
    Message(r"Tensors must have same number of dimensions: got (?P<a>\d+) and (?P<b>\d+)", "A9",
            "parts with {a} and {b} axes are joined", "maps and flat features cannot be concatenated as they are",
            "flatten the maps, or spread the features over the map", "+a = a.flatten(1)", "", None, ("a", "b")),
    Message(r"(?:running_mean|weight|bias|running_var) should contain (?P<given>\d+) elements not (?P<made>\d+)", "A11",
            "{layer} gets {given} channels",
            "a norm layer keeps one mean and one scale a channel: {made}, but {given} come",
            "make it for as many channels as the layer before it has",
            "-nn.BatchNorm2d({made})\n+nn.BatchNorm2d({given})", "the layer before it makes {made} channels", _norm,
            ("made", "given")),
    Message(r"expected (?P<wanted>\d)D(?: or \dD)? input \(got (?P<got>\d)D input\)", "A11",
            "a batch norm for {wanted} axes gets {got}", "BatchNorm1d is for flat features, BatchNorm2d for maps",
            "use the one that fits, or put it before the flattening", "", "", None, ("wanted", "got")),
    Message(r"Given normalized_shape=\[(?P<made>[\d, ]+)\], expected input with shape .*got input of "
            r"size\s*(?P<given>\[[\d, ]+\])", "A9", "a layer norm over {made} gets {given}",
            "layer norm takes the last axes, and their sizes are fixed", "make it for the last axes of its input", "", "",
            None, ("made", "given")),
    Message(r"Expected weight to be a vector of size equal to the number of channels .*?shape "
            r"\[(?P<made>\d+)\].*?shape (?P<given>\[.*?\])", "A9", "a group norm over {made} channels gets {given}",
            "axis 1 of its input counts other channels", "make it for as many channels as come", "", "", None,
            ("made", "given")),
    Message(r"index out of range in self|indices should be either on|index \d+ is out of bounds for dimension", "D6",
            "{layer} is asked for a row that it does not have",
            "an index (a word, a category) is negative, or not below the number of rows",
            "make it as large as the largest index + 1, or map unknown words to one index",
            "-nn.Embedding(n, d)\n+nn.Embedding(int(indices.max()) + 1, d)", "indices.max() is below the number of rows",
            _embedding),
    Message(r"input\.size\(-1\) must be equal to input_size\. Expected (?P<wanted>\d+), got (?P<got>\d+)", "A9",
            "{layer} reads {wanted} features a step and gets {got}",
            "the last axis counts features: (steps, B, {wanted}), or (B, steps, {wanted}) with batch_first=True",
            "make input_size {got}, or move the feature axis last", "-input_size={wanted}\n+input_size={got}",
            "the input's last axis is {wanted}", _recurrent, ("wanted", "got")),
    Message(r"(?P<kind>LSTM|GRU|RNN): Expected input to be 2D or 3D, got (?P<got>\d)D", "A9", "an {kind} gets {got} axes",
            "a recurrent layer reads (steps, B, features)", "lay channels and rows together as features",
            "+x = x.flatten(2)", "", None, ("got",)),
    Message(r"Expected hidden\[?\d?\]? size \(?(?P<wanted>[\d, ]+)\)?, got \[(?P<got>[\d, ]+)\]", "A9",
            "the hidden state is {got} and must be {wanted}", "its middle axis counts the batch: the last batch is "
            "smaller, or batch_first was forgotten (it does not move the state's axes)",
            "make the state for each batch, or leave it out: it begins at zero",
            "+h0 = x.new_zeros(layers, x.shape[batch_axis], hidden)", "", None, ("wanted", "got")),
    Message(r"Expected size for first two dimensions of batch2 tensor to be: (?P<wanted>\[[\d, ]+\]) but got: "
            r"(?P<got>\[[\d, ]+\])", "A9", "a product of stacks of matrices: {wanted} was needed, {got} came",
            "in bmm(a, b) the last axis of a must be the middle axis of b", "transpose one of them",
            "+b = b.transpose(1, 2)", "", None, ("wanted", "got")),
    Message(r"Dimension out of range \(expected to be in range of \[(?P<low>-?\d+), (?P<high>-?\d+)\], but got "
            r"(?P<axis>-?\d+)\)", "A9", "axis {axis} of a tensor that has axes 0 … {high}",
            "an axis is missing: often the batch, squeezed away",
            "keep the batch axis (squeeze(1), never squeeze()), or use dim=-1", "-x.squeeze()\n+x.squeeze(1)", "", None,
            ("axis",)),
    Message(r"was expecting embedding dimension of (?P<wanted>\d+), but got (?P<got>\d+)", "A9",
            "attention over {wanted} features gets {got}", "the last axis of query, key and value must be embed_dim",
            "make embed_dim {got}, or project to {wanted} first", "-embed_dim={wanted}\n+embed_dim={got}", "", None,
            ("wanted", "got")),
    Message(r"(?P<a>embed_dim|num_channels[ (\d)]*|in_channels|out_channels) must be divisible by "
            r"(?P<b>num_heads|num_groups[ (\d)]*|groups)", "A9", "{a} is no multiple of {b}",
            "every head or group has equally many channels", "choose a divisor", "", "", None),
)
