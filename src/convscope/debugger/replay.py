"""What would the arrays be, had this mistake been made? The glass-box network run with single calls done wrong.

A `Replay` keeps the right run. With mistakes at some calls it computes again only what they change: a call whose incoming
delta is the right one hands out the gradients that are known.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from convscope.glass import INPUT, Call, GlassBox
from convscope.mechanics.capture import Capture
from convscope.mechanics.loss import gives
from convscope.mechanics.reading import glass_box
from convscope.operators import Operator
from convscope.operators._log_loss import LogLoss
from convscope.operators.batch_norm import BatchNorm
from convscope.operators.cross_entropy import CrossEntropy
from convscope.operators.mistakes import FORWARD, Mistake
from convscope.operators.mse import MeanSquaredError

LOSS = "loss"  # the name of the step that the deltas begin with


@dataclass(frozen=True)
class Run:
    """All values, all deltas by value name, and what each call handed to each of the arrays that it read."""

    values: dict[str, Any]
    loss: float
    deltas: dict[str, Any]
    parts: dict[str, tuple[Any, ...]]
    odd: dict[str, Any]  # values of another size than they should be: nothing can go on from them


def loss_step(kept: Capture) -> tuple[Operator, Any]:
    """The loss as an operator, and its target."""
    loss = kept.loss
    assert loss is not None
    if loss.kind == "mse":
        return MeanSquaredError(reduction=loss.reduction), np.asarray(loss.wanted, np.float64)
    target = np.array(loss.labels, np.int64)
    kind = gives(kept.net)
    if kind == "scores":
        return CrossEntropy(reduction=loss.reduction), target
    return LogLoss(reduction=loss.reduction, log=kind == "log-probabilities"), target


class Replay:
    """The right run of a network, and any number of wrong ones."""

    def __init__(self, kept: Capture) -> None:
        box = glass_box(kept.net)
        calls = tuple(
            dataclasses.replace(c, operator=dataclasses.replace(c.operator, training=True))
            if kept.training and isinstance(c.operator, BatchNorm)
            else c
            for c in box.calls
        )
        self.box: GlassBox = dataclasses.replace(box, calls=calls)
        self.operator, self.target = loss_step(kept)
        self.x = kept.value(INPUT)

    @functools.cached_property
    def right(self) -> Run:
        """The run without mistakes."""
        return self.run({})

    @functools.cached_property
    def by_name(self) -> dict[str, Call]:
        return {c.name: c for c in self.box.calls}

    def operator_of(self, name: str) -> Operator | None:
        """The operator of a call, or of the loss."""
        return self.operator if name == LOSS else self.by_name[name].operator

    def run(self, mistakes: Mapping[str, tuple[Mistake, ...]]) -> Run:
        """The run with mistakes: call name (or 'loss') -> what is done wrong there."""
        there = {k: m for k, ms in mistakes.items() for m in ms if m.direction == FORWARD}
        back = {k: tuple(m for m in ms if m.direction != FORWARD) for k, ms in mistakes.items()}
        odd: dict[str, Any] = {}
        values = self._forward(there, odd) if there or not mistakes else self.right.values
        output = self._flat(values[self.box.output])
        loss = self._loss(output, there.get(LOSS))
        start = self._start(output, back.get(LOSS, ()))
        parts: dict[str, tuple[Any, ...]] = {}
        replaced = {
            c.name: self._recording(c, back.get(c.name, ()), parts, bool(mistakes) and values is self.right.values)
            for c in self.box.calls
            if c.operator is not None
        }
        deltas = self.box.backward(values, {self.box.output: start.reshape(values[self.box.output].shape)}, replaced)
        return Run(values, loss, deltas, parts, odd)

    def _flat(self, output: Any) -> Any:
        return output if isinstance(self.operator, MeanSquaredError) else output.reshape(len(output), -1)

    def _forward(self, wrong: Mapping[str, Mistake], odd: dict[str, Any]) -> dict[str, Any]:
        """All values; a call that reads only right values is not computed again."""
        right = self.__dict__["right"].values if "right" in self.__dict__ else {}
        values: dict[str, Any] = {INPUT: right.get(INPUT, self.x), **self.box.parameters}
        for call in self.box.calls:
            same = right and all(n is None or values[n] is right[n] for n in call.reads)
            mistake = wrong.get(call.name)
            if mistake is None:
                values[call.name] = right[call.name] if same else self.box.value(call, values)
                continue
            arrays = self.box.read(call, values)
            made = mistake.make(call.operator, *arrays)
            own = self.box.value(call, values)
            fits = made is not None and _sizes(made) == _sizes(own)
            values[call.name] = made if fits else own
            if made is not None and not fits:
                odd[call.name] = made
        return values

    def _loss(self, output: Any, mistake: Mistake | None) -> float:
        made = None if mistake is None else mistake.make(self.operator, output, self.target)
        return float(self.operator.forward(output, self.target) if made is None else made)

    def _start(self, output: Any, wrong: tuple[Mistake, ...]) -> Any:
        """∂L/∂output. (A loss that is only reported wrong has the right derivative.)"""
        return np.asarray(_gradients(self.operator, wrong, np.float64(1.0), (output, self.target))[0])

    def _recording(
        self, call: Call, wrong: tuple[Mistake, ...], parts: dict[str, tuple[Any, ...]], cached: bool
    ) -> Callable[..., tuple[Any, ...]]:
        """A call's backward pass that leaves what it handed out in `parts`."""

        def backward(operator: Operator, delta: Any, *arrays: Any) -> tuple[Any, ...]:
            if not wrong and cached and _same(delta, self.right.deltas.get(call.name)):
                found = self.right.parts[call.name]
            else:
                found = _gradients(operator, wrong, delta, arrays)
            parts[call.name] = found
            # What has another size than its array cannot be handed on.
            return tuple(
                None if g is not None and a is not None and g.shape != a.shape else g
                for g, a in zip(found, arrays, strict=True)
            )

        return backward


def _gradients(operator: Operator, wrong: tuple[Mistake, ...], delta: Any, arrays: tuple[Any, ...]) -> tuple[Any, ...]:
    """An operation's gradients; where several mistakes spoil different ones, all of them."""
    found = list(operator.backward(delta, *arrays))
    for mistake in wrong:
        for at, gradient in enumerate(mistake.gradients(operator, delta, *arrays)):
            if gradient is not None and found[at] is not None:
                found[at] = gradient
    return tuple(found)


def _sizes(value: Any) -> Any:
    return tuple(map(_sizes, value)) if isinstance(value, tuple) else value.shape


def _same(a: Any, b: Any) -> bool:
    if a is b:
        return True
    if isinstance(a, tuple) or isinstance(b, tuple):
        return isinstance(a, tuple) and isinstance(b, tuple) and all(_same(i, j) for i, j in zip(a, b, strict=True))
    return a is not None and b is not None and np.array_equal(a, b)
