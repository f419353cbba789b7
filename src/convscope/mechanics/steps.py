"""One number of one layer, worked out: an output value, the delta of an input, the gradient of a weight.

The operators write the arithmetic (`Operator.explain_value`, `explain_gradient`); autograd's number for the same operation
stands beside it. What is not asked for is chosen where the number is largest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from convscope import addresses
from convscope.errors import ShapeError, UnknownName, UsageError, unknown
from convscope.glass import INPUT, Call
from convscope.mechanics.capture import Capture
from convscope.network import Network
from convscope.operators.cross_entropy import CrossEntropy
from convscope.operators.mse import MeanSquaredError
from convscope.results import Layer, Steps

DIRECTIONS = ("forward", "input", "weights")
CROPS = 9  # windows shown for a weight's gradient
LOSS = "loss"  # the address of the loss itself


@dataclass(frozen=True)
class Question:
    """Which number? What is None is chosen: the largest one.

    `channel`: of the output (forward), of the input (input), the filter (weights); `position`: (y, x) in that map, or in
    the kernel; `inner`: for weights, which input channel of the filter; `array`: which of the arrays that a layer reads, by
    name ('x', 'other', 'weight', 'bias', …), where it is not the first.
    """

    layer: str
    direction: str = "forward"
    channel: int | None = None
    position: tuple[int, ...] | None = None
    inner: int | None = None
    example: int = 0
    array: str = ""

    def __post_init__(self) -> None:
        if self.direction not in DIRECTIONS:
            raise UsageError(f"no direction {self.direction!r}", "", f"use one of {', '.join(DIRECTIONS)}")


def question(net: Network, layer: str | None, direction: str, **which: Any) -> Question:
    """A question from an address, a unit ('conv1/3@5,9') or nothing: then the first convolution, else the first layer."""
    strange = sorted(set(which) - {"channel", "position", "inner", "example", "array"})
    if strange:
        raise UsageError(f"steps has no option {strange[0]!r}", "it has channel, position, inner, example, array",
                         "see its help")
    given = {k: v for k, v in which.items() if v is not None}
    if layer is None:
        found = next((k for k in net.layers if k.operator.startswith("conv")), net.layers[0])
        return Question(found.address, direction, **given)
    if layer == LOSS and LOSS not in net:
        return Question(LOSS, direction, **given)
    unit = addresses.parse(layer)
    own = {"channel": unit.channel, "position": unit.position}
    return Question(unit.layer, direction, **{**{k: v for k, v in own.items() if v is not None}, **given})


def work_out(kept: Capture, asked: Question, pixels: Sequence[Any] = ()) -> Steps:
    """The number that is asked for, from what one run kept. `pixels`: uint8 (H, W, C) images, for crops.

    >>> import convscope as cs
    >>> import torch
    >>> from convscope.mechanics.loss import Loss
    >>> kept = Capture(cs.open("zoo:lenet5"), torch.ones(1, 1, 28, 28), Loss(labels=(3,)))
    >>> found = work_out(kept, Question("conv1", "weights", channel=2, inner=0, position=(1, 1)))
    >>> found.at, found.difference < 1e-10
    ((2, 0, 1, 1), True)
    """
    if asked.layer == LOSS:
        return _loss(kept, asked)
    layer = kept.net[asked.layer]
    call = kept.call(layer)
    assert call.operator is not None
    arrays = kept.arrays(call)
    if asked.direction == "forward":
        value, _ = kept.autograd(call, kept.output_delta(call) if kept.loss is not None else _ones(kept, call))
        whole = value.detach().numpy()
        at = _index(asked, whole, layer.unit_axis, layer.address)
        working = call.operator.explain_value(at, *arrays)
        title, check = f"{_place(layer.address, at, layer.unit_axis)}: the value of one output", float(whole[at])
        which = None
    else:
        delta = kept.output_delta(call)
        which = _which(asked, call)
        _, gradients = kept.autograd(call, delta)
        whole = gradients[which]
        if whole is None:
            raise UsageError(f"{call.reads[which]} of {layer.address} has no gradient", "it is not learned",
                             "choose another array")
        axis = _axis(asked, call, which, layer)
        at = _index(asked, whole, axis, f"{_name(call, which)} of {layer.address}")
        working = call.operator.explain_gradient(which, at, delta, *arrays)
        what = "the delta of one input" if asked.direction == "input" else "the gradient of one weight"
        title = f"{layer.address}: {what}, ∂L/∂{_name(call, which)}[{', '.join(map(str, at))}]"
        check = float(whole[at])
    crops, captions = _crops(layer, working, asked, pixels)
    return Steps(
        title=title, layer=layer.address, operator=layer.operator, direction=asked.direction, at=at, formula=working.formula,
        lines=working.lines, value=working.value, check=check, grids=working.grids, terms=working.terms, crops=crops,
        captions=captions, notes=_notes(kept, call, which, at), origin=kept.net.origin(asked),
    )


def _loss(kept: Capture, asked: Question) -> Steps:
    """The loss itself: its value, or its derivative by one output."""
    loss = kept.loss
    if loss is None:
        raise UsageError("there is no loss to work out", "no labels were given", "give labels")
    output = kept.output.detach().numpy()
    if loss.kind == "mse":
        operator, arrays = MeanSquaredError(reduction=loss.reduction), (output, np.asarray(loss.wanted, np.float64))
    elif loss.kind == "cross-entropy" and kept.net.output.operator.strip("_") not in ("softmax", "log_softmax"):
        operator = CrossEntropy(reduction=loss.reduction)
        output = output.reshape(len(output), -1)
        arrays = (output, np.array(loss.labels, np.int64))
    else:
        raise UsageError(f"the loss is read off {kept.net.output.address} as it is", loss.describe(kept.net),
                         f"work out {kept.net.output.address} instead")
    about = {"layer": LOSS, "operator": loss.kind, "origin": kept.net.origin(asked), "notes": (loss.describe(kept.net),)}
    if asked.direction == "forward":
        working = operator.explain_value((), *arrays)
        return Steps(title="the loss", direction="forward", at=(), formula=working.formula, lines=working.lines,
                     value=working.value, check=kept.loss_value, grids=working.grids, terms=working.terms, **about)
    delta = kept.delta(kept.reader.name_of_output()).reshape(output.shape)
    at = _index(asked, delta, 1, "the output")
    working = operator.explain_gradient(0, at, np.float64(1.0), *arrays)
    return Steps(title=f"loss: its derivative by one output, ∂L/∂y[{', '.join(map(str, at))}]", direction=asked.direction,
                 at=at, formula=working.formula, lines=working.lines, value=working.value, check=float(delta[at]),
                 grids=working.grids, terms=working.terms, **about)


def _which(asked: Question, call: Call) -> int:
    """Position of the asked array among those that the call reads."""
    names = [_name(call, i) for i in range(len(call.reads))]
    if asked.array:
        if asked.array not in names:
            raise unknown(f"array of {call.address}", asked.array, names, "arrays go by the operator's own names")
        return names.index(asked.array)
    assert call.operator is not None
    learned = [i for i, name in enumerate(call.reads) if name is not None and _is_weight(call, i)]
    if asked.direction == "weights":
        if not learned:
            raise UsageError(f"{call.address} has no weights", f"it reads {', '.join(names)}",
                             "use --direction input, or a layer that learns")
        return learned[0] if "weight" not in names else names.index("weight")
    return next(i for i in range(len(call.reads)) if i not in learned and call.reads[i] is not None)


def _is_weight(call: Call, which: int) -> bool:
    """Is this array a parameter of the operator, rather than data?"""
    name = _name(call, which)
    operator = call.operator
    assert operator is not None
    return name in operator.learned or (which >= len(operator.arrays) and "…" not in operator.arrays)


def _name(call: Call, which: int) -> str:
    """An array's name: the operator's own ('weight'), a numbered one behind '…', a recurrent layer's ('weight_hh_l0')."""
    assert call.operator is not None
    named = call.operator.arrays
    if which < len(named) and named[which] != "…":
        return named[which]
    read = call.reads[which] or f"array {which}"
    return f"x{which}" if "…" in named else read.rsplit(".", 1)[-1]


def _axis(asked: Question, call: Call, which: int, layer: Layer) -> int | None:
    """The axis that `channel` counts along."""
    if asked.direction == "weights" or _is_weight(call, which):
        return 0
    return layer.unit_axis


def _index(asked: Question, whole: Any, axis: int | None, where: str) -> tuple[int, ...]:
    """The full index of the asked number; what was left open is taken where |number| is largest."""
    if asked.position is not None and len(asked.position) == whole.ndim:
        at: list[int | None] = list(asked.position)
    else:
        at = [None] * whole.ndim
        free = list(range(whole.ndim))
        if asked.direction == "weights":
            for value in (asked.channel, asked.inner):
                if free:
                    at[free.pop(0)] = value
        else:
            if whole.ndim > 1:
                at[free.pop(0)] = asked.example
            if asked.channel is not None and axis is not None and axis in free:
                at[axis] = asked.channel
            if axis is not None and axis in free:
                free.remove(axis)
        if asked.position is not None:
            if len(asked.position) != len(free):
                raise ShapeError(f"position {','.join(map(str, asked.position))} in {where}",
                                 f"its shape is {'×'.join(map(str, whole.shape))}",
                                 f"give {len(free)} numbers for the map, or all {whole.ndim}")
            for a, value in zip(free, asked.position, strict=True):
                at[a] = value
    for a, value in enumerate(at):
        if value is not None and not 0 <= value < whole.shape[a]:
            raise UnknownName(f"no index {value} along axis {a} of {where}",
                              f"its shape is {'×'.join(map(str, whole.shape))}", f"use 0 … {whole.shape[a] - 1}")
    open_ = whole[tuple(slice(None) if v is None else v for v in at)]
    best = iter(np.unravel_index(int(np.abs(open_).argmax()), open_.shape)) if np.ndim(open_) else iter(())
    return tuple(int(next(best)) if v is None else v for v in at)


def _place(address: str, at: tuple[int, ...], axis: int | None) -> str:
    """'conv1/3@5,9', with the image where it is not the first."""
    if not at or axis is None or axis >= len(at):
        return f"{address}[{', '.join(map(str, at))}]"
    rest = [str(p) for a, p in enumerate(at) if a not in (0, axis)]
    return f"{address}/{at[axis]}" + (f"@{','.join(rest)}" if rest else "") + (f" of image {at[0]}" if at[0] else "")


def _ones(kept: Capture, call: Call) -> Any:
    """A stand-in for deltas where there is no loss: only the value is looked at."""
    return np.ones_like(kept.value(call.name))


def _notes(kept: Capture, call: Call, which: int | None, at: tuple[int, ...]) -> tuple[str, ...]:
    notes = [] if kept.loss is None or which is None else [kept.loss.describe(kept.net)]
    if kept.training:
        notes.append("batch norm uses the statistics of this batch (training)")
    name = None if which is None else call.reads[which]
    if name is None or (name == INPUT and not kept.reader.readers(name)):
        return tuple(notes)
    readers = kept.reader.readers(name)
    if len(readers) > 1:
        total = float(kept.delta(name)[at])
        others = ", ".join(r for r in readers if r != (call.address or call.name))
        notes.append(f"{name} is also read by {others}; over all of them autograd gives {total:.6g} in sum")
    return tuple(notes)


def _crops(layer: Layer, working: Any, asked: Question, pixels: Sequence[Any]) -> tuple[Any, Any]:
    """What the largest terms of a weight's gradient saw of the images: crops of their receptive fields."""
    found = working.terms
    if asked.direction != "weights" or found is None or not pixels or not layer.fields or found.left_at.shape[1] < 4:
        return (), ()
    order = np.argsort(-np.abs(found.products), kind="stable")[:CROPS]
    crops: list[Any] = []
    captions: list[str] = []
    for n in order:
        b, *place = (int(v) for v in found.left_at[n][[0, 2, 3]])
        if b >= len(pixels):
            continue
        (top, bottom), (left, right) = (f.span(p, size) for f, p, size in
                                        zip(layer.fields, place, pixels[b].shape[:2], strict=True))
        piece = pixels[b][top:bottom, left:right]
        crops.append(np.repeat(piece, 3, axis=2) if piece.shape[2] == 1 else piece[:, :, :3])
        left, right, product = (f"{v:.3g}".replace("-", "−") for v in
                                (found.left_values[n], found.right_values[n], found.products[n]))
        captions.append(f"image {b} @{place[0]},{place[1]}: {left} × {right} = {product}")
    return tuple(crops), tuple(captions)
