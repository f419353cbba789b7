"""Messages about types of numbers and devices."""

from __future__ import annotations

from convscope.symptoms.message import Message, Scene, Values

_FLOAT = "-x = torch.tensor(array)\n+x = torch.tensor(array, dtype=torch.float32)"


def _mixed(v: Values, scene: Scene) -> Values:
    given = str(v["given"]).lower()
    where = f"'{scene.module}'" if scene.module else "a layer"
    if given in ("byte", "unsigned char", "bytetensor", "uint8", "char"):
        return {"layer": where, "fault": "D1", "cause": "images as they are read are bytes 0 … 255; weights are floats",
                "remedy": "turn them into floats and scale them",
                "code": "-x = torch.from_numpy(image)\n+x = torch.from_numpy(image).float() / 255"}
    if given in ("double", "doubletensor"):
        return {"layer": where,
                "cause": "NumPy computes in 64 bits, and what was made from its arrays has stayed so; weights have 32"}
    if given in ("half", "halftensor", "c10::half", "bfloat16", "c10::bfloat16"):
        return {"layer": where, "fault": "P12", "cause": "the input has half precision and the weights have not",
                "remedy": "compute both under autocast, and keep the weights in 32 bits",
                "code": '+with torch.autocast("cuda", dtype=torch.float16):\n+    output = model(x)'}
    return {"layer": where, "cause": f"the input is of type {v['given']}; weights are floats"}


def _devices(v: Values, scene: Scene) -> Values:
    a, b = v.get("a") or v.get("c") or "cuda", v.get("b") or v.get("d") or "cpu"
    return {"a": a, "b": b, "layer": f"'{scene.module}'" if scene.module else "an operation"}


MESSAGES = (
    Message(r"Input type \((?P<given>torch\.cuda\.\w+)\) and weight type \((?P<weight>torch\.(?!cuda)\w+)\)|Input type "
            r"\((?P<x>torch\.(?!cuda)\w+)\) and weight type \((?P<w>torch\.cuda\.\w+)\)", "",
            "data and model are on two devices", "one of the two was moved to the GPU and the other was not",
            "move both; .to() of a tensor returns a new one: assign it",
            "+model.to(device)\n+x, y = x.to(device), y.to(device)", "next(model.parameters()).device == x.device"),
    Message(r"mat1 and mat2 must have the same dtype, but got (?P<given>\w+) and (?P<weight>\w+)", "",
            "{layer} gets {given} and computes in {weight}", "", "make the input float32 where it is loaded", _FLOAT,
            "x.dtype is the weights' dtype", _mixed, ("given", "weight")),
    Message(r"Input type \((?:torch\.)?(?P<given>[\w: ]+)\) and (?:bias|weight) type \((?:torch\.)?(?P<weight>[\w: "
            r"]+)\) should be the same", "", "{layer} gets {given} and computes in {weight}", "",
            "make the input float32 where it is loaded", _FLOAT, "x.dtype is the weights' dtype", _mixed,
            ("given", "weight")),
    Message(r"expected (?:m1 and m2 to have the same dtype, but got|scalar type (?P<weight>Float|Double|Half) but "
            r"found) ?:?\s*(?P<given>\w+)", "", "{layer} gets {given}", "", "make the input float32 where it is loaded",
            _FLOAT, "x.dtype is the weights' dtype", _mixed, ("given",)),
    Message(r"Expected all tensors to be on the same device, but (?:found at least two devices, (?P<a>[\w:]+) and "
            r"(?P<b>[\w:]+)|got .*? is on (?P<c>[\w:]+), different from other tensors on (?P<d>[\w:]+))|Tensor on "
            r"device (?:\w+) is not on the expected device (?:\w+)", "", "{layer} meets tensors of two devices",
            "something was moved to the GPU and something else was not: the model, the batch, the targets, or a tensor "
            "made inside forward", "move all of them; make constants on x.device, or register them as buffers",
            "+model.to(device)\n+x, y = x.to(device), y.to(device)\n+mask = torch.zeros(n, device=x.device)",
            "next(model.parameters()).device == x.device", _devices),
    Message(r"device-side assert triggered|`?t >= 0 && t < n_classes`? failed", "D6",
            "a check on the GPU has failed",
            "nearly always a label (or embedding index) that is negative or not below the number of classes; the line "
            "shown is a later one, since the GPU works ahead", "run one batch on the CPU: the message there names "
                                                               "the index; or set "
            "CUDA_LAUNCH_BLOCKING=1. Restart Python afterwards", "+assert 0 <= int(y.min()) and int(y.max()) < K",
            "labels.min() is 0 and labels.max() is the number of outputs − 1"),
    Message(r"out of memory|can't allocate memory|CUBLAS_STATUS_ALLOC_FAILED", "", "the memory is used up",
            "activations kept for backward grow with batch size and image area; or graphs are kept from step to step "
            "(losses added up without .item()), or evaluation runs without no_grad",
            "halve the batch (and accumulate gradients), evaluate under no_grad, store loss.item()",
            "-batch_size=64\n+batch_size=16\n-total += loss\n+total += loss.item()\n+with torch.no_grad():  # for "
            "evaluation", "memory is the same after step 10 and step 1000: then the batch is too large; if it grows, a "
            "graph is kept"),
    Message(r"Torch not compiled with CUDA enabled|No CUDA GPUs are available|Found no NVIDIA driver|Attempting to "
            r"deserialize object on a CUDA device", "", "there is no GPU for this torch",
            "the program asks for cuda and this machine or this build of torch has none", "choose the device by asking",
            '+device = "cuda" if torch.cuda.is_available() else "cpu"\n+torch.load(path, map_location=device)', ""),
    Message(r"can't convert cuda:\d+ device type tensor to numpy", "", "a tensor on the GPU is turned into NumPy",
            "NumPy reads the CPU's memory only", "copy it first", "-x.numpy()\n+x.detach().cpu().numpy()", ""),
    Message(r"Expected tensor for argument #1 'indices' to have one of the following scalar types: Long, Int; but got "
            r"torch\.(?P<type>\w+)", "D6", "an embedding gets {type}",
            "an embedding looks rows up by whole numbers; floats are no indices",
            "give Long indices; real numbers belong to a dense layer", "-emb(x)\n+emb(x.long())",
            "x.dtype is torch.int64", None, ("type",)),
    Message(r"mean\(\): could not infer output dtype.*Got: (?P<type>\w+)", "", "the mean of whole numbers",
            "a mean is no whole number", "turn them into floats first", "-(y == p).mean()\n+(y == p).float().mean()", "",
            None, ("type",)),
    Message(r"must be Tensor, not tuple", "A9", "a layer gets a tuple",
            "a recurrent layer returns (outputs, state); the next layer wants the outputs",
            "unpack it; in a Sequential, wrap it", "-x = self.lstm(x)\n+x, _ = self.lstm(x)", ""),
    Message(r"must be Tensor, not (?:numpy\.)?(?P<type>ndarray|list|int|float|Image)", "", "a layer gets {type}",
            "modules compute on tensors", "convert it", "+x = torch.as_tensor(x, dtype=torch.float32)", "", None,
            ("type",)),
    Message(r"can't convert np\.ndarray of type numpy\.object_|could not convert string to float", "D10",
            "the data hold something other than numbers",
            "a column of text, None, or rows of unequal length became an object array", "find it, then encode or drop it",
            '+array = frame.apply(pd.to_numeric, errors="coerce").dropna()', "array.dtype is float"),
    Message(r"Boolean value of Tensor with more than one value is ambiguous", "", "a tensor of many values in an if",
            "a condition needs one truth value; or a loss class was called like a function: nn.MSELoss(output, y)",
            "reduce it with any() or all(); make the loss first, then call it",
            "-loss = nn.MSELoss(output, y)\n+loss = nn.MSELoss()(output, y)", ""),
    Message(r"a Tensor with (?P<n>\d+) elements cannot be converted to Scalar|only one element tensors can be "
            r"converted to Python scalars", "", "item() of many values", "item() is for a tensor of one value",
            "reduce first: mean(), sum()", "-x.item()\n+x.mean().item()", ""),
)
