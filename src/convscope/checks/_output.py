"""What the checks of outputs and losses share: the operation that ends a network, the lines to change, losses asked anew."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convscope.diagnosing import losses
from convscope.diagnosing.calls import WEIGHTED, Call
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.program import left_alone

# The image of an activation: what it can give at all.
IMAGE: dict[str, tuple[float, float]] = {
    "sigmoid": (0.0, 1.0), "softmax": (0.0, 1.0), "tanh": (-1.0, 1.0), "softsign": (-1.0, 1.0), "relu": (0.0, math.inf),
    "softplus": (0.0, math.inf), "elu": (-1.0, math.inf), "log_softmax": (-math.inf, 0.0), "log_sigmoid": (-math.inf, 0.0),
}  # fmt: skip
PASSED = ("dropout", "__getitem__", "select", "chunk", "split", "unbind")  # come after an activation and leave its image
CATEGORICAL = ("cross-entropy", "cross-entropy (last axis)", "cross-entropy smoothed", "nll", "probability cross-entropy",
               "clipped cross-entropy", "normalised cross-entropy")  # fmt: skip
OF_PROBABILITIES = ("bce", "probability cross-entropy", "clipped cross-entropy", "normalised cross-entropy")
OF_VALUES = ("mse", "mse one-hot", "mae", "huber", "rmse", "msle", "mape")
SLACK = 1e-3  # how far probabilities may be from adding up to 1, in float32


def closing(evidence: Evidence) -> Call | None:
    """The activation whose image is the output's: the last call behind the last weights, dropout and cuts passed over."""
    for call in reversed(evidence.tail):
        if call.op in IMAGE:
            return call
        if call.op not in PASSED:
            return None
    return None


def weighted(evidence: Evidence) -> Call | None:
    """The last call with weights: its values are what the tail is given."""
    if evidence.tail:
        at = evidence.tail[0].inputs[0] if evidence.tail[0].inputs else -1
        return evidence.calls[at] if at >= 0 else None
    if evidence.tensor is None:
        return None
    last = evidence.first[1].of(evidence.tensor)
    return last if last is not None and last.op in WEIGHTED else None


def class_axis(evidence: Evidence) -> int:
    """Where the classes stand: Keras has them last, torch behind the batch."""
    out = evidence.tensor
    if out is None or out.ndim < 2:
        return 0
    last = evidence.program.framework == "keras" or evidence.loss.family in (
        "cross-entropy (last axis)", "clipped cross-entropy", "normalised cross-entropy")  # fmt: skip
    return out.ndim - 1 if last else 1


def sums_to_one(values: Tensor, axis: int, slack: float = SLACK) -> bool:
    """Are these probabilities along `axis`? (An axis of width 1 tells nothing.)"""
    v = values.detach()
    if not v.is_floating_point() or v.ndim <= axis or v.shape[axis] < 2 or not bool(torch.isfinite(v).all()):
        return False
    return float(v.min()) >= -slack and float((v.float().sum(axis) - 1).abs().max()) <= slack


def loss_at(evidence: Evidence, outputs: Tensor, target: Tensor | None = None) -> float:
    """The loss of made-up outputs against the targets of the batch that is looked at; NaN where it raises."""
    with left_alone(), torch.no_grad():
        return float(losses.quiet(evidence.twin, outputs, evidence.y if target is None else target))


def made_up(evidence: Evidence, count: int = 4, seed: int = 11) -> list[Tensor]:
    """Outputs in 0.05 … 0.95, drawn: losses of probabilities and of logits read them. Large values: at their own scale."""
    out = evidence.tensor
    assert out is not None
    generator = torch.Generator().manual_seed(seed)
    made = [torch.rand(out.shape, generator=generator).clamp(0.05, 0.95).to(out.device) for _ in range(count)]
    targets = evidence.targets
    if targets.kind == "values" and evidence.loss.reads == "values" and max(abs(targets.low), abs(targets.high)) > 10:
        return [targets.low + (targets.high - targets.low) * o for o in made]  # or float32 hides what they change
    return made


def says_nothing(evidence: Evidence) -> bool:
    """Is the loss the same whatever the network answers? Then no gradient comes from it."""
    if evidence.tensor is None or evidence.loss.problem or not evidence.tensor.numel():
        return False
    found = [loss_at(evidence, scale * o) for o, scale in zip(made_up(evidence), (1.0, 1.0, 0.5, 0.1), strict=True)]
    return all(map(math.isfinite, found)) and max(found) - min(found) <= 1e-6 * max(map(abs, found))


def struggles(evidence: Evidence) -> bool:
    """Does the program as it is do poorly in a short training? (Its own score; not a matter of speed alone.)"""
    return evidence.after.poor or bool(evidence.trial.problem) or evidence.trial.broke is not None


def place(call: Call | None) -> str:
    """'fc3>softmax · net.py:31'."""
    if call is None:
        return "output"
    return f"{call.name} · {call.line}" if call.line else call.name


def layer_of(evidence: Evidence, call: Call) -> Call | None:
    """The weighted call whose values this activation was given."""
    here: Call | None = call
    while here is not None and here.op not in WEIGHTED:
        here = evidence.calls[here.inputs[0]] if here.inputs and here.inputs[0] >= 0 else None
    return here


def lines(evidence: Evidence, call: Call | None, made: str) -> str:
    """The user's line with `call`, and what stands there instead. `made`: an activation in small letters; '' for none.

    Where the call has a line of its own in the user's source it is quoted; in a Sequential, the module; in Keras, the layer.
    """
    if call is None:
        return f"+ output = {_spell(made)}" if made else ""
    if evidence.program.framework == "keras":
        return _keras(evidence, call, made)
    parts = dict(evidence.twin.model.named_modules())
    part = parts.get(call.module)
    stem = call.module.rpartition(".")[2]
    if part is not None and call.module and type(part).__module__.startswith("torch.nn"):
        new = {"": nn.Identity(), "sigmoid": nn.Sigmoid(), "softmax": nn.Softmax(1), "relu": nn.ReLU(),
               "log_softmax": nn.LogSoftmax(1)}[made]  # fmt: skip
        if stem.isdigit():
            return f"- ({stem}): {part!r}" + (f"\n+ ({stem}): {new!r}" if made else "")
        return f"- self.{call.module} = nn.{part!r}\n+ self.{call.module} = nn.{new!r}"
    if call.text:
        left = "" if made else _peeled(call.text, call.op)
        return f"- {call.text}\n+ {_spell(made) if made else left or '# without it: the values before go on as they are'}"
    return f"- {call.op}(x)\n+ {_spell(made) if made else 'x'}"


def _peeled(text: str, op: str) -> str:
    """A line of source without the call of `op`: 'return F.softmax(z, 1)' → 'return z'; '' where it cannot be told."""
    try:
        tree = ast.parse(text)
    except SyntaxError:  # a part of a longer statement
        return ""
    found = [c for c in ast.walk(tree) if isinstance(c, ast.Call) and isinstance(c.func, (ast.Attribute, ast.Name))
             and (c.func.attr if isinstance(c.func, ast.Attribute) else c.func.id) == op]  # fmt: skip
    if len(found) != 1 or not text.isascii():
        return ""
    call, owner = found[0], getattr(found[0].func, "value", None)
    library = owner is None or (isinstance(owner, ast.Name) and owner.id in ("F", "torch", "nn")) or \
        ast.unparse(owner).startswith(("torch.", "nn."))  # fmt: skip
    inner = (call.args[0] if call.args else None) if library else owner
    whole, part = ast.get_source_segment(text, call), None if inner is None else ast.get_source_segment(text, inner)
    return text.replace(whole, part) if whole and part else ""


def _spell(made: str) -> str:
    return {"sigmoid": "torch.sigmoid(x)", "relu": "F.relu(x)", "tanh": "torch.tanh(x)"}.get(made, f"F.{made}(x, dim=1)")


def _keras(evidence: Evidence, call: Call, made: str) -> str:
    source = layer_of(evidence, call)
    name = "" if source is None else source.name.split(":")[0]
    inner = getattr(evidence.twin.model, "inner", None)
    layer = next((at for at in getattr(inner, "layers", ()) if at.name == name), None)
    kind = type(layer).__name__ if layer is not None else "Dense"
    width = getattr(layer, "units", getattr(layer, "filters", "…"))
    new = f', activation="{made}"' if made else ""
    return f'- {kind}({width}, activation="{call.op}")\n+ {kind}({width}{new})'


def each(function: Callable[[Tensor], Tensor]) -> Callable[[Callable[..., Tensor]], Callable[..., Tensor]]:
    """A loss that is given `function` of the outputs: for `changes.wrapping`."""

    def around(loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
        return lambda output, *target: loss(function(output), *target)

    return around


def axis_of(call: Call) -> int:
    """The axis of a softmax; where none was given, the one that torch guesses."""
    axis = call.settings.get("dim")
    return (0 if call.value.ndim in (0, 1, 3) else 1) if axis is None else int(axis)


def moves(evidence: Evidence, shape: tuple[int, ...] | None = None) -> float:
    """How far the loss of made-up outputs moves, relative, when they change places among the examples."""
    o = made_up(evidence, 1)[0]
    given, turned = (v if shape is None else v.reshape(shape) for v in (o, o.roll(1, 0)))
    a, b = loss_at(evidence, given), loss_at(evidence, turned)
    return abs(a - b) / max(abs(a), 1e-30) if math.isfinite(a) and math.isfinite(b) else math.nan


def squares(output: Tensor, target: Tensor) -> Tensor:
    """Mean squared error, targets in the outputs' shape."""
    return F.mse_loss(output, target.to(output.dtype).reshape(output.shape))


def of_chances(output: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy of probabilities."""
    return F.binary_cross_entropy(output.clamp(0, 1), target.to(output.dtype).reshape(output.shape))


def of_logits(output: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy of logits."""
    return F.binary_cross_entropy_with_logits(output, target.to(output.dtype).reshape(output.shape))


def entropy(output: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of logits (B, C, …), for class indices or rows of probabilities."""
    labels = target.float() if target.shape == output.shape else target.long().reshape(len(output), *output.shape[2:])
    return F.cross_entropy(output, labels)
