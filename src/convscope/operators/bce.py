"""Binary cross-entropy: the surprise at yes or no, for every output by itself.

    loss = −weight·(target·log p + (1 − target)·log(1 − p))           from probabilities p; each log is at least −100
    loss = weight·((1 − target)·x + v·log(1 + e^−x))                  from logits x, v = 1 + (pos_weight − 1)·target

The second form never takes the logarithm of a rounded 0. As in PyTorch, the first form's gradient divides by p·(1 − p),
which is taken to be at least 1e-12.

Source: Good 1952, "Rational Decisions" (the logarithmic score).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from convscope.errors import DataError
from convscope.operators._elementwise import logistic, softplus
from convscope.operators._lines import factor
from convscope.operators._operator import Array
from convscope.operators._reduce import Loss, require_equal
from convscope.operators._working import number, plus
from convscope.results import Line


@dataclass(frozen=True)
class BinaryCrossEntropy(Loss):
    """How surprised are we by each yes or no, having said p?

    Shapes: x (the probabilities p) and target any, equal; weight None or broadcasting to them; y () or theirs. Units: nats.
    Raises DataError for p outside 0 … 1, ShapeError for unequal shapes. The gradient of weight is not given (None).
    Misleads: a p that rounds to 0 or 1 costs 100 at most, however wrong; logits have no such floor.

    >>> import numpy as np
    >>> print(BinaryCrossEntropy().forward(np.array([0.5, 0.5]), np.array([1.0, 0.0])).round(4))
    0.6931
    """

    aten: ClassVar = ("binary_cross_entropy",)
    arrays: ClassVar = ("x", "target", "weight")
    formula: ClassVar = "loss = −mean of weight·(target·log x + (1 − target)·log(1 − x))"
    backward_formula: ClassVar = "∂L/∂x = δ/n · weight · (x − target)/(x · (1 − x)), n numbers in the mean"

    def losses(self, x: Array, target: Array, weight: Array = None) -> Array:
        yes, no = _logs(x, target)
        losses = -(target * yes + (1 - target) * no)
        return losses if weight is None else losses * weight

    def forward(self, x: Array, target: Array, weight: Array = None) -> Array:
        return self.reduced(self.losses(x, target, weight))

    def backward(self, delta: Array, x: Array, target: Array, *weight: Array) -> tuple[Array, ...]:
        yes, no = _logs(x, target)
        share = self.spread(delta, x) * (1 if not weight or weight[0] is None else weight[0])
        return share * (x - target) / np.maximum(x * (1 - x), 1e-12), share * (no - yes), *(None for _ in weight)

    def slope_formula(self, which: int) -> str:
        return ("weight · (p − target)/(p · (1 − p)), p = x", "weight · (log(1 − x) − log x)")[which]

    def loss_text(self, at: tuple[int, ...], x: Array, target: Array, weight: Array = None) -> str:
        p, t, (yes, no) = x[at], target[at], _logs(x[at], target[at])
        text = f"−({number(t)}·log {number(p)} + {number(1 - t)}·log {number(1 - p)})"
        text += "" if weight is None else f" · {number(_of(weight, x, at))} (weight)"
        value = -(t * yes + (1 - t) * no) * (1 if weight is None else _of(weight, x, at))
        return f"{text} = {number(value)}" + " (logarithms end at −100)" * bool(min(yes, no) <= -100)

    def slope_lines(self, which: int, at: tuple[int, ...], x: Array, target: Array, weight: Array = None) -> list[Line]:
        p, t, (yes, no) = float(x[at]), float(target[at]), _logs(x[at], target[at])
        if which == 0:
            below = max(p * (1 - p), 1e-12)
            slope = (p - t) / below
            first = Line(f"p − target = {number(p)}{plus(-t)} = {number(p - t)}", p - t)
            second = Line(f"(p − target)/(p·(1 − p)) = {number(p - t)}/{number(below)} = {number(slope)}", slope)
        else:
            slope = float(no - yes)
            first = Line(f"log p = {number(yes)}, log(1 − p) = {number(no)}", float(yes))
            second = Line(f"log(1 − p) − log p = {number(slope)}", slope)
        return [first, second, *_weighted(slope, None if weight is None else _of(weight, x, at))]


@dataclass(frozen=True)
class BinaryCrossEntropyWithLogits(Loss):
    """How surprised are we by each yes or no, having given it the log-odds x?

    Shapes: x and target any, equal; weight and pos_weight None or broadcasting to them; y () or theirs. Units: nats.
    `pos_weight` counts a yes that many times. Raises ShapeError for unequal shapes. The two weights get no gradient (None).
    Misleads: with several outputs that exclude each other, each is judged as if the others were not there.

    >>> import numpy as np
    >>> print(BinaryCrossEntropyWithLogits().forward(np.array([0.0, -1000.0]), np.array([1.0, 1.0])).round(4))
    500.3466
    """

    aten: ClassVar = ("binary_cross_entropy_with_logits",)
    arrays: ClassVar = ("x", "target", "weight", "pos_weight")
    formula: ClassVar = "loss = mean of weight·((1 − target)·x + v·log(1 + e^−x)), v = 1 + (pos_weight − 1)·target"
    backward_formula: ClassVar = "∂L/∂x = δ/n · weight · ((1 − target) − v · σ(−x)), n numbers in the mean"

    def losses(self, x: Array, target: Array, weight: Array = None, pos_weight: Array = None) -> Array:
        require_equal(x, target)
        losses = (1 - target) * x + _votes(target, pos_weight) * softplus(-x)
        return losses if weight is None else losses * weight

    def forward(self, x: Array, target: Array, weight: Array = None, pos_weight: Array = None) -> Array:
        return self.reduced(self.losses(x, target, weight, pos_weight))

    def backward(self, delta: Array, x: Array, target: Array, *weights: Array) -> tuple[Array, ...]:
        require_equal(x, target)
        weight, pos_weight = (*weights, None, None)[:2]
        share = self.spread(delta, x) * (1 if weight is None else weight)
        of_target = -x if pos_weight is None else (pos_weight - 1) * softplus(-x) - x
        of_x = (1 - target) - _votes(target, pos_weight) * logistic(-x)
        return share * of_x, share * of_target, *(None for _ in weights)

    def slope_formula(self, which: int) -> str:
        return ("weight · ((1 − target) − v · σ(−x)), which without pos_weight is σ(x) − target",
                "weight · ((pos_weight − 1) · log(1 + e^−x) − x)")[which]

    def loss_text(self, at: tuple[int, ...], x: Array, target: Array, *weights: Array) -> str:
        weight, votes = (*weights, None, None)[:2]
        t, v = float(target[at]), 1.0 if votes is None else float(_votes(target[at], _of(votes, x, at)))
        text = f"{number(1 - t)}·{factor(float(x[at]))} + {number(v)}·log(1 + e^−{factor(float(x[at]))})"
        w = 1.0 if weight is None else _of(weight, x, at)
        text = text if weight is None else f"({text}) · {number(w)} (weight)"
        return f"{text} = {number(((1 - t) * x[at] + v * softplus(-x[at])) * w)}"

    def slope_lines(self, which: int, at: tuple[int, ...], x: Array, target: Array, *weights: Array) -> list[Line]:
        weight, votes = (*weights, None, None)[:2]
        here, t = float(x[at]), float(target[at])
        extra = 1.0 if votes is None else _of(votes, x, at)
        v, p, no = 1 + (extra - 1) * t, float(logistic(x[at])), float(logistic(-x[at]))
        if which == 1:
            slope = (extra - 1) * float(softplus(-x[at])) - here
            lines = [Line(f"(pos_weight − 1) · log(1 + e^−x) − x = {number(slope)}", slope)]
        elif votes is None:
            slope = (1 - t) - no
            lines = [Line(f"p = σ(x) = 1/(1 + e^−{factor(here)}) = {number(p)}", p),
                     Line(f"p − target = {number(p)}{plus(-t)} = {number(slope)}", slope)]
        else:
            slope = (1 - t) - v * no
            lines = [Line(f"v = 1 + (pos_weight − 1)·target = {number(v)}", v),
                     Line(f"(1 − target) − v·σ(−x) = {number(1 - t)} − {number(v)}·{number(no)} = {number(slope)}", slope)]
        return [*lines, *_weighted(slope, None if weight is None else _of(weight, x, at))]


def _of(weight: Array, x: Array, at: tuple[int, ...]) -> float:
    """The weight that x[at] meets."""
    return float(np.broadcast_to(weight, x.shape)[at])


def _weighted(slope: float, weight: float | None) -> list[Line]:
    if weight is None:
        return []
    return [Line(f"times its weight: {number(slope)} · {factor(weight)} = {number(slope * weight)}", slope * weight)]


def _votes(target: Array, pos_weight: Array) -> Array:
    return 1 if pos_weight is None else 1 + (pos_weight - 1) * target


def _logs(x: Array, target: Array) -> tuple[Array, Array]:
    """log x and log(1 − x), at least −100."""
    require_equal(x, target)
    if not ((x >= 0) & (x <= 1)).all():
        raise DataError("binary cross-entropy of values outside 0 … 1", f"x reaches from {x.min():g} to {x.max():g}",
                        "apply a sigmoid first, or use the form with logits")
    with np.errstate(divide="ignore"):  # log 0 = −∞ is cut off on the next line
        yes, no = np.log(x), np.log1p(-x)
    return np.maximum(yes, -100), np.maximum(no, -100)
