"""Messages of losses: targets of the wrong type, shape or range, and outputs that are no probabilities."""

from __future__ import annotations

from convscope.symptoms.message import Message, Scene, Values, by, numbers
from convscope.symptoms.parts import CONVOLUTION, DENSE


def _last(scene: Scene) -> tuple[str, int | None]:
    """The layer that makes the outputs, and how many."""
    made = [p for p in scene.parts if p.family in (DENSE, CONVOLUTION) and p.outputs]
    return (made[-1].name, made[-1].outputs) if made else ("", None)


def _bounds(v: Values, scene: Scene) -> Values:
    label = v["label"]
    name, width = _last(scene)
    last = f"the last layer '{name}' has {width} outputs: labels may be 0 … {(width or 1) - 1}" if width else (
        "labels may be 0 … K − 1 for K outputs")
    if label == -100:
        return {"cause": "−100 marks what is ignored (ignore_index), and something counts it nevertheless"}
    if label < 0:
        return {"cause": f"{last}; {label} often marks what is unlabelled", "fault": "D6",
                "code": f"+nn.CrossEntropyLoss(ignore_index={label})",
                "remedy": "leave these examples out, or tell the loss to ignore them"}
    if width is not None and label == width:
        return {"cause": f"{last}; {label} came: labels that count from 1, or one class too few in the last layer",
                "code": f"-labels\n+labels - 1\n or:\n-nn.Linear(…, {width})  # {name}\n+nn.Linear(…, {width + 1})"}
    return {"cause": f"{last}; {label} came: labels that count from 1 or have gaps, or too few outputs",
            "code": f"-nn.Linear(…, {width or 'K'})\n+nn.Linear(…, {label + 1})  # or: labels - labels.min()"}


def _sizes(v: Values, scene: Scene) -> Values:
    target, output = numbers(v["target"]), numbers(v["output"])
    said: Values = {"target": by(target), "output": by(output)}
    if len(output) == len(target) + 1 and output[:-1] == target and output[-1] == 1:
        spread = by((target[-1], target[-1]))
        return said | {"fault": "O8", "code": "-loss = criterion(output, y)\n+loss = criterion(output.squeeze(1), y)",
                       "cause": f"outputs are {by(output)} and targets {by(target)}: broadcasting compares every output "
                                f"with every target ({spread}), and the best answer to that is the mean of the targets",
                       "remedy": "give both the same shape"}
    if (target and output[-1] != target[-1]) or len(target) != len(output):
        name, _ = _last(scene)
        return said | {"fault": "O7", "cause": f"the network answers {by(output)} and the targets are {by(target)}",
                       "remedy": f"let the last layer{f' {name!r}' if name else ''} have as many outputs as an example has "
                                 "targets, or code the targets as the loss reads them"}
    return said


def _seats(v: Values, _: Scene) -> Values:
    rows, labels = v["rows"], v["labels"]
    if rows and labels and labels > rows and labels % rows == 0:
        times = labels // rows
        return {"cause": f"{labels} = {times} × {rows}: the labels were flattened, each example has {times}; or the batch "
                         "was folded into the features by a view"}
    if rows and labels and rows > labels and rows % labels == 0:
        return {"cause": f"{rows} = {rows // labels} × {labels}: a view(-1, …) with a wrong size has cut each example "
                         f"into {rows // labels} rows", "code": "-x = x.view(-1, n)\n+x = x.flatten(1)", "fault": "A9"}
    return {}


def _sequence(v: Values, _: Scene) -> Values:
    return {"wanted": by(numbers(v["wanted"])), "got": by(numbers(v["got"]))}


_ONE_HOT = "-y = F.one_hot(y, K)\n+y  # the class indices themselves, (B,)\n or:\n+y = F.one_hot(y, K).float()"

MESSAGES = (
    Message(r"expected (?:target dtype to be Long or Byte, but got (?P<got>\w+)|(?:object of )?scalar type Long but "
            r"(?:found|got) (?:scalar type )?(?P<found>\w+))", "D6", "cross-entropy gets labels of type {type}",
            "class labels are indices, and indices are whole numbers of type Long; floats are read as class "
            "probabilities only where they have the shape of the outputs",
            "turn the labels into Long, once, where they are loaded",
            "-loss = criterion(output, y)\n+loss = criterion(output, y.long())", "y.dtype is torch.int64; where the "
            "targets are real numbers, the task is a regression and the loss another",
            lambda v, _: {"type": v.get("got") or v.get("found")}, ("type",)),
    Message(r"Target (?P<label>-?\d+) is out of bounds", "D6",
            "label {label} is none of the network's classes", "", "count the labels from 0 and make one output a class",
            "", "labels.min() is 0 and labels.max() is the number of outputs − 1",
            _bounds, ("label",)),
    Message(r"0D or 1D target tensor expected, multi-target not supported|multi-target not supported", "D6",
            "cross-entropy gets labels with a second axis",
            "labels are (B,) class indices; these are (B, 1), or one-hot rows of whole numbers",
            "drop the axis, or take the index of the 1 in each row", "-loss = criterion(output, y)\n+loss = "
            "criterion(output, y.squeeze(1))    # (B, 1)\n+loss = criterion(output, y.argmax(1))     # one-hot",
            "y.ndim is 1"),
    Message(r"Expected floating point type for target with class probabilities, got (?P<type>\w+)", "D6",
            "targets with the outputs' shape, of whole numbers", "targets shaped like the outputs are read as class "
            "probabilities, which are floats: one-hot labels of type {type}, or outputs that have lost their class axis",
            "give class indices, or make the one-hot rows floats; outputs are (B, K)", _ONE_HOT,
            "y.shape is (B,) and output.shape (B, K)", None, ("type",)),
    Message(r"Expected input batch_size \((?P<rows>\d+)\) to match target batch_size \((?P<labels>\d+)\)", "O7",
            "{rows} answers for {labels} labels", "the network returns {rows} rows and there are {labels} labels: one "
            "of them was reshaped across the batch axis",
            "keep axis 0 for the batch: flatten(1), never view(-1, …) with a guessed size",
            "-x = x.view(-1, n)\n+x = x.flatten(1)", "len(output) == len(y)", _seats, ("rows", "labels")),
    Message(r"For 1D input, 1D target must have size 1, but got target size: (?P<labels>\d+)", "O7",
            "the outputs have lost their batch axis", "(K,) outputs against {labels} labels: squeeze() took the batch "
            "axis, or the network has one output a batch", "keep (B, K)", "-output.squeeze()\n+output",
            "output.ndim is 2", None, ("labels",)),
    Message(r"only batches of spatial targets supported \(3D tensors\) but got targets of (?:dimension|size): "
            r"(?P<axes>.+)", "D6", "segmentation labels with {axes} axes", "for maps of K classes, (B, K, H, W), "
            "labels are (B, H, W) class indices; a mask read as an image has a channel axis", "drop the channel axis",
            "-loss = criterion(output, mask)\n+loss = criterion(output, mask.squeeze(1).long())", "mask.ndim is 3", None,
            ("axes",)),
    Message(r"size mismatch \(got input: (?P<output>\[[\d, ]+\])\s*, target: (?P<target>\[[\d, ]+\])", "O7",
            "maps of {output} against labels of {target}", "height and width of the answers are not those of the labels",
            "resize the answers to the labels", "+output = F.interpolate(output, size=mask.shape[-2:])",
            "output.shape[-2:] == mask.shape[-2:]", None, ("output", "target")),
    Message(r"Expected target size \(?\[?(?P<wanted>[\d, ]+)[\])]?, got (?:torch\.Size\()?\[(?P<got>[\d, ]+)\]", "O9",
            "labels are {got}; for these outputs {wanted} was expected",
            "with more than two axes the classes stand at axis 1: (B, K, steps), not (B, steps, K)",
            "move the classes to axis 1", "-loss = criterion(output, y)\n+loss = criterion(output.transpose(1, 2), y)",
            "output.shape[1] is the number of classes", _sequence, ("wanted", "got")),
    Message(r"weight tensor should be defined either for all (?:(?P<classes>\d+) )?classes or no classes but got "
            r"weight tensor of shape: \[(?P<got>\d+)\]", "O7", "{got} class weights for another number of outputs",
            "the loss weighs every class: one weight an output", "give one weight a class", "", "", None,
            ("classes", "got")),
    Message(r"all elements of input should be between 0 and 1|Assertion `?(?:input_val >= zero|input >= 0)", "O3",
            "binary cross-entropy gets outputs that are no probabilities", "BCELoss takes the logarithm of its input, "
            "so it must lie in 0 … 1: a linear or ReLU output does not (or it is NaN)",
            "leave the output linear and use the loss that applies the sigmoid itself: it cannot overflow",
            "-criterion = nn.BCELoss()\n+criterion = nn.BCEWithLogitsLoss()",
            "output.min() and output.max() lie in 0 … 1"),
    Message(r"all elements of target should be between 0 and 1", "D6", "binary cross-entropy gets targets outside 0 … 1",
            "the targets are no probabilities: labels 1 and 2, −1 and 1, class indices, or 0 and 255 of a mask",
            "code them as 0 and 1, or use the loss of the task", "-y\n+(y > 0).float()", "y.min() is 0 and y.max() is 1"),
    Message(r"Using a target size \(torch\.Size\((?P<target>\[[\d, ]*\])\)\) that is different to the input size "
            r"\(torch\.Size\((?P<output>\[[\d, ]*\])\)\)", "O8", "outputs are {output}, targets {target}",
            "the loss broadcasts one against the other, which compares what does not belong together",
            "give both the same shape", "-loss = criterion(output, y)\n+loss = criterion(output, y.view_as(output))",
            "output.shape == y.shape", _sizes, ("output", "target")),
    Message(r"Target size \(torch\.Size\((?P<target>\[[\d, ]*\])\)\) must be the same as input size "
            r"\(torch\.Size\((?P<output>\[[\d, ]*\])\)\)", "O8", "outputs are {output}, targets {target}",
            "this loss has one target for every output", "give both the same shape",
            "-loss = criterion(output, y)\n+loss = criterion(output, y.view_as(output))", "output.shape == y.shape",
            _sizes, ("output", "target")),
    Message(r"Found dtype (?P<got>Long|Int|Bool|Byte|Double) but expected (?P<wanted>Float|Half)|result type Float "
            r"can't be cast to the desired output type (?P<cast>\w+)", "D6", "the targets are of type {type}",
            "this loss computes in floats and takes its type from the targets or the outputs", "make the targets floats",
            "-loss = criterion(output, y)\n+loss = criterion(output, y.float())", "y.dtype is torch.float32",
            lambda v, _: {"type": v.get("got") or v.get("cast")}, ("type",)),
    Message(r"[Ss]ubtraction, the `-` operator, with (?:two|a) bool tensors?", "D6", "targets that are true or false",
            "a loss subtracts, and truth values cannot be subtracted", "make them floats", "-y\n+y.float()",
            "y.dtype is torch.float32"),
    Message(r"Arguments `?target`? and `?output`? must have the same (?:shape up until the last dimension|shape|rank "
            r"\(ndim\)|rank).*?target\.(?:shape|ndim|rank)=(?:torch\.Size\()?(?P<target>[\[(]?[\dNone, ]+[\])]?)\)?, "
            r"output\.(?:shape|ndim|rank)=(?:torch\.Size\()?(?P<output>[\[(]?[\dNone, ]+)", "D6",
            "Keras: targets are {target}, outputs {output}", "categorical_crossentropy reads one-hot rows (B, K), "
            "sparse_categorical_crossentropy class indices (B,), binary_crossentropy as many 0/1 targets as there are "
            "outputs", "choose the loss by how the labels are coded, and as many outputs as there are classes",
            '-loss="categorical_crossentropy"\n+loss="sparse_categorical_crossentropy"    # labels are class indices',
            "y.shape is what the loss reads", lambda v, _: {k: by(numbers(v[k])) for k in ("target", "output")},
            ("target", "output")),
    Message(r"\"?(?P<operation>\w+?)_?(?:lastdim_kernel_impl|cpu|cuda|kernel)?\"? not implemented for "
            r"'(?P<type>Long|Int|Byte|Bool|Short)'", "D6", "{operation} of whole numbers",
            "outputs or targets are of type {type}, and this is defined for floats",
            "turn them into floats; labels of a classification stay Long and belong to cross-entropy", "-y\n+y.float()",
            "both dtypes are torch.float32", None, ("operation", "type")),
)
