"""One training step, explained: what a batch changes in one filter, and which image and place asked for it.

    g = ∂L/∂w = Σ_b Σ_i δ[b,i] · window[b,i]        a share for each example b and each position i
    w ← w − rate · g                                stochastic gradient descent, no momentum, no weight decay

How much of the step did a position ask for? Its share along g,

    ⟨δ[b,i] · window[b,i], g⟩ / ‖g‖² = δ[b,i] · (g ⋆ x)[b,i] / ‖g‖²,

is one forward pass with g as the kernel. Over all positions and examples the shares add up to 1.

Sources: Robbins and Monro 1951, "A Stochastic Approximation Method"; batch against one by one: Bottou and Bousquet 2008,
"The Tradeoffs of Large Scale Learning".
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from convscope.errors import UnknownName, UsageError
from convscope.glass import Call
from convscope.mechanics.capture import Capture
from convscope.mechanics.loss import Loss
from convscope.network import Network
from convscope.operators._working import Working, number
from convscope.operators.conv import Conv
from convscope.operators.linear import Linear
from convscope.results import Grid, Line, Steps, Terms

Array = Any


@dataclass(frozen=True)
class Update:
    """Which filter, and which step? `rate`: the learning rate; `training`: batch norm uses the batch's statistics."""

    layer: str
    channel: int = 0
    rate: float = 0.01
    training: bool = False

    def __post_init__(self) -> None:
        if not (np.isfinite(self.rate) and self.rate > 0):
            raise UsageError(f"a learning rate of {self.rate}", "no step can be made with it", "use a number above 0")


def explain_update(net: Network, x: Tensor, loss: Loss, asked: Update) -> Steps:
    """What does one step of plain gradient descent on the batch x (B, C, H, W) change in one filter, and who asked for it?

    `table` has a row for each example: its loss, the length of its gradient, its share of the step along the batch's
    gradient (they add up to 1) and the cosine between the two, its loss after the step. `grids`: the filter before, its
    gradient, the filter after; the same after single steps, one example at a time; the share of every position (B, h, w).
    `value`: the gradient's largest number as our sum over examples and positions; `check`: autograd's. The module that the
    network was opened from is not changed. All in float64; rate without a unit, losses as `loss` measures them.

    Misleads where an optimiser with momentum, weight decay or adaptive rates is used: its step is another. Errors:
    UsageError for a layer that is neither a convolution nor dense, UnknownName for a filter that is not there.
    Sources: Robbins and Monro 1951; Bottou and Bousquet 2008.

    >>> import convscope as cs
    >>> x = torch.rand(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    >>> step = explain_update(cs.open("zoo:lenet5"), x, Loss(labels=(3, 1)), Update("conv1", channel=2))
    >>> step.difference < 1e-10, step.table["share"].sum().round(6).item()
    (True, 1.0)
    """
    kept = Capture(net, x, loss, asked.training)
    filters = [_Filter(kept, call, asked.channel) for call in _calls(kept, asked)]
    weight = filters[0].weight
    gradients = np.sum([f.gradients() for f in filters], axis=0)  # (B, …): a share for each example
    gradient = gradients.sum(axis=0)
    autograd = kept.deltas(_learned(kept))
    at = tuple(int(i) for i in np.unravel_index(int(np.abs(gradient).argmax()), gradient.shape))
    workings = [f.worked_out(at) for f in filters]
    value = sum(w.value for w in workings)
    whole = _moved(net, autograd, asked.rate)
    after = Capture(whole, x, loss, asked.training)
    name = filters[0].names[0]
    lines = [
        Line(f"loss before the step = {number(kept.loss_value)}", kept.loss_value),
        Line(f"loss after it, every layer moved = {number(after.loss_value)}", after.loss_value),
        _alone(kept, x, filters[0], gradient, asked),
    ]
    single, notes = _one_by_one(kept, x, asked)
    for way, other in single.items():
        lines.append(Line(f"loss after {way} = {number(total := _loss_of(other, x, kept))}", total))
    lines.append(_moved_line(name, (asked.channel, *at), float(weight[at]), asked.rate, float(gradient[at])))
    lines += [*filters[0].bias_lines(autograd, asked), *(line for w in workings for line in w.lines)]
    if len(workings) > 1:
        lines.append(Line(f"∂L/∂weight over {len(workings)} calls = {number(value)}", value))
    grids = [Grid(f"{name}[{asked.channel}] before", weight, marked=(at,)), Grid("its gradient", gradient, marked=(at,)),
             Grid("after", weight - asked.rate * gradient, marked=(at,))]
    grids += [Grid(f"after {way}", _value(other, name)[asked.channel], marked=(at,)) for way, other in single.items()]
    grids += [Grid("share of each position, one map an example", f.pull(gradient)) for f in filters]
    off = float(np.abs(gradient - autograd[name][asked.channel]).max())
    notes = [loss.describe(net), f"over the whole filter, our sum and autograd's differ by {off:.1e} at most", *notes]
    if not gradient.any():
        notes.append("the gradient of this filter is zero: the step does not change it")
    table, units = _table(gradients, kept, after)
    return Steps(
        title=f"{asked.layer}/{asked.channel}: one training step on {len(x)} example{'s' if len(x) > 1 else ''}",
        layer=asked.layer, operator=net[asked.layer].operator, direction="update", at=(asked.channel, *at),
        formula="w ← w − rate · Σ_b Σ_i δ[b,i] · window[b,i]", lines=tuple(lines), value=float(value),
        check=float(autograd[name][(asked.channel, *at)]), grids=tuple(grids), terms=workings[0].terms, table=table,
        units=units, notes=tuple(notes), origin=net.origin(asked, x),
    )


# ---- the filter ---------------------------------------------------------------------------------------------------------


class _Filter:
    """One filter of one call, alone: what it reads, its numbers, its delta."""

    def __init__(self, kept: Capture, call: Call, channel: int) -> None:
        x, weight, *_ = kept.arrays(call)
        delta = kept.output_delta(call)
        if len(x) != len(kept.value("input")):
            raise UsageError(f"{call.address} does not keep the examples apart", f"it reads {x.shape}",
                             "choose a layer whose first axis is the batch")
        self.names = tuple(name for name in call.reads[1:] if name is not None)
        axis, groups, operator = 1, 1, call.operator
        if isinstance(operator, Conv):
            groups, operator = operator.groups, dataclasses.replace(operator, groups=1)
        else:
            axis = delta.ndim - 1
        if not 0 <= channel < len(weight):
            raise UnknownName(f"no filter {channel} in {call.address}", f"it has {len(weight)}",
                              f"use 0 … {len(weight) - 1}")
        each = weight.shape[1]
        self.channel, self.axis = channel, axis
        self.first = channel // (len(weight) // groups) * each  # the first input channel of its group
        self.call = dataclasses.replace(call, operator=operator)
        self.x = x[:, self.first:self.first + each] if groups > 1 else x
        self.delta, self.weight = delta.take([channel], axis), weight[channel]
        self.bias = kept.value(self.names[1]) if len(self.names) > 1 else None

    def gradients(self) -> Array:
        """(B, …): what every example asks for."""
        operator: Any = self.call.operator
        return np.stack([operator.backward(self.delta[b:b + 1], self.x[b:b + 1], self.weight[None])[1][0]
                         for b in range(len(self.x))])

    def worked_out(self, at: tuple[int, ...]) -> Working:
        """One number of the filter's gradient, as a sum over examples and positions."""
        operator: Any = self.call.operator
        working: Working = operator.explain_gradient(1, (0, *at), self.delta, self.x, self.weight[None])
        if working.terms is None:
            return working
        left, right = self._places_in_layer(working.terms)
        return dataclasses.replace(working, terms=dataclasses.replace(working.terms, left_at=left, right_at=right))

    def _places_in_layer(self, found: Terms) -> tuple[Array, Array]:
        """Where the factors stand in the whole layer's arrays: this filter's channel, its group's input channels."""
        shifted: list[Array] = []
        for name, places in ((found.left, found.left_at), (found.right, found.right_at)):
            places = places.copy()
            if name.startswith("δ"):
                places[:, self.axis] += self.channel
            elif isinstance(self.call.operator, Conv):
                places[:, 1] += self.first
            shifted.append(places)
        return shifted[0], shifted[1]

    def pull(self, gradient: Array) -> Array:
        """(B, …): the share of every position in the step along the gradient; together 1."""
        operator: Any = self.call.operator
        along = (self.delta * operator.forward(self.x, gradient[None])).reshape(len(self.x), *self._places())
        length = float((gradient ** 2).sum())
        return along / length if length else along

    def _places(self) -> tuple[int, ...]:
        """The map without its channel axis."""
        return self.delta.shape[2:] if isinstance(self.call.operator, Conv) else self.delta.shape[1:-1] or (1,)

    def bias_lines(self, autograd: dict[str, Array], asked: Update) -> list[Line]:
        """The bias before and after the step."""
        if self.bias is None or self.names[1] not in autograd:
            return []
        gradient = float(autograd[self.names[1]][asked.channel])
        return [_moved_line(self.names[1], (asked.channel,), float(self.bias[asked.channel]), asked.rate, gradient)]


def _moved_line(name: str, at: tuple[int, ...], before: float, rate: float, gradient: float) -> Line:
    after = before - rate * gradient
    numbers = f"{number(before)} − {number(rate)} · ({number(gradient)}) = {number(after)}"
    return Line(f"{name}[{', '.join(map(str, at))}] = {numbers}", after)


def _calls(kept: Capture, asked: Update) -> list[Call]:
    """The call that is asked for, and every other that reads the same weights."""
    call = kept.call(kept.net[asked.layer])
    if not isinstance(call.operator, (Conv, Linear)):
        raise UsageError(f"{asked.layer} has no filters", f"it is a {kept.net[asked.layer].operator}",
                         "choose a convolution or a dense layer")
    if call.reads[1] not in _learned(kept):
        raise UsageError(f"the weights of {asked.layer} are not parameters", "they are computed or fixed",
                         "choose a layer that learns its weights itself")
    same = [c for c in kept.reader.calls if c is not call and len(c.reads) > 1 and c.reads[1] == call.reads[1]]
    return [call, *same]


def _learned(kept: Capture) -> list[str]:
    """The names of all parameters that training changes."""
    net = kept.net
    return [name for node, name in net.parameter_names.items()
            if name not in kept.fixed and net.tensors[node].is_floating_point()]


# ---- steps --------------------------------------------------------------------------------------------------------------


def _moved(net: Network, gradients: dict[str, Array], rate: float) -> Network:
    """The network after a step, in float64; the one that is given stays as it is."""
    tensors = dict(net.tensors)
    for node, name in net.parameter_names.items():
        if name in gradients:
            tensors[node] = net.tensors[node].detach().double() - rate * torch.from_numpy(gradients[name])
    return dataclasses.replace(net, tensors=tensors, _at={})


def _alone(kept: Capture, x: Tensor, filter_: _Filter, gradient: Array, asked: Update) -> Line:
    """The loss if this filter alone is moved."""
    only = np.zeros_like(kept.value(filter_.names[0]))
    only[asked.channel] = gradient
    loss = _loss_of(_moved(kept.net, {filter_.names[0]: only}, asked.rate), x, kept)
    return Line(f"loss if only the weights of filter {asked.channel} moved = {number(loss)}", loss)


def _one_by_one(kept: Capture, x: Tensor, asked: Update) -> tuple[dict[str, Network], list[str]]:
    """The network after a step for every example, one after the other; in words, how."""
    net, loss, count = kept.net, kept.loss, len(x)
    assert loss is not None
    if count == 1:
        return {}, []
    if net.batch not in (None, 1) or asked.training:
        why = "one example alone has other statistics" if asked.training else f"the network takes {net.batch} at once"
        return {}, [f"steps one by one are left out: {why}"]
    mean = loss.reduction == "mean" and loss.kind != "score"
    rates = {f"{count} steps, one example at a time" + (f", rate {number(asked.rate)}/{count}" if mean else ""):
             asked.rate / count if mean else asked.rate}
    if mean:
        rates[f"{count} steps, one example at a time, rate {number(asked.rate)}"] = asked.rate
    found: dict[str, Network] = {}
    for way, rate in rates.items():
        now = net
        for b in range(count):
            alone = Capture(now, x[b:b + 1], _part(loss, b))
            now = _moved(now, alone.deltas(_learned(alone)), rate)
        found[way] = now
    note = "one by one with the rate over the batch's size: together as long as the batch's step, to first order"
    return found, [note] if mean else []


def _part(loss: Loss, b: int) -> Loss:
    """The loss of one example."""
    return dataclasses.replace(loss, labels=loss.labels[b:b + 1],
                               wanted=None if loss.wanted is None else np.asarray(loss.wanted)[b:b + 1])


def _loss_of(net: Network, x: Tensor, like: Capture) -> float:
    return Capture(net, x, like.loss, like.training).loss_value


def _value(net: Network, name: str) -> Array:
    node = next(n for n, found in net.parameter_names.items() if found == name)
    return net.tensors[node].numpy()


def _table(gradients: Array, kept: Capture, after: Capture) -> tuple[dict[str, Array], dict[str, str]]:
    """One row an example."""
    loss = kept.loss
    assert loss is not None
    flat = gradients.reshape(len(gradients), -1)
    whole = flat.sum(axis=0)
    along, lengths, length = flat @ whole, np.linalg.norm(flat, axis=1), float(np.linalg.norm(whole))
    safe = np.where(lengths * length > 0, lengths * length, 1.0)
    each = [np.array([float(_part(loss, b).of(run.net, run.output[b:b + 1].detach())) for b in range(len(flat))])
            for run in (kept, after)]
    columns = {"example": np.arange(len(flat)), "loss": each[0], "gradient_norm": lengths,
               "share": along / length ** 2 if length else along, "cosine": along / safe, "loss_after": each[1]}
    if loss.labels:
        columns = {"example": columns.pop("example"), "label": np.array(loss.labels), **columns}
    return columns, {
        "loss": "of this example alone, before the step",
        "gradient_norm": "Euclidean length of its part of the filter's gradient",
        "share": "of the step, along the batch's gradient; all together 1, below 0: against it",
        "cosine": "between its gradient and the batch's",
        "loss_after": "of this example, after the step on the whole batch",
    }


__all__ = ["Update", "explain_update"]
