"""Cross-entropy: the surprise at the right class, given scores for all of them.

    loss = −Σ_k q[k]·log p[k],  p = softmax(x)        ∂loss/∂x = p·Σ_k q[k] − q

q is the wanted distribution (see _classes.py); for one right class t it is y: y[t] = 1, all others 0, and the gradient is
p − y.

Sources: Good 1952 (logarithmic score); Bridle 1990 (with softmax); smoothing: Szegedy et al. 2016.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from convscope.operators._classes import ClassLoss
from convscope.operators._lines import factor
from convscope.operators._operator import Array
from convscope.operators._working import number
from convscope.operators.log_softmax import LogSoftmax
from convscope.results import Line


@dataclass(frozen=True)
class CrossEntropy(ClassLoss):
    """How surprised are we by the right class?

    Shapes: x (B, K) or (B, K, H, W) logits, or (K,) for one example; target class indices (B,) or (B, H, W), or
    distributions of x's shape; weight (K,) or None; y () or, with reduction 'none', x's shape without K.
    Target and weight get no gradient (None).
    Units: nats; log K means no idea at all. Examples of class `ignore_index` do not count.
    Raises DataError for a class outside 0 … K − 1 or when no example counts, ShapeError where sizes do not fit.
    Misleads: x must be logits; probabilities are accepted too, and softmax is then applied twice.

    >>> import numpy as np
    >>> print(CrossEntropy().forward(np.zeros((2, 10)), np.array([3, 7])).round(4))  # log 10
    2.3026
    """

    label_smoothing: float = 0.0

    aten: ClassVar = ("cross_entropy_loss",)
    distributions: ClassVar = True
    formula: ClassVar = "loss = −log(e^x[target] / Σ_j e^x[j]), mean over examples"
    backward_formula: ClassVar = "∂L/∂x = δ/n · (p − y), p = softmax(x), y[target] = 1, n examples in the mean"

    @property
    def smoothing(self) -> float:  # type: ignore[override]
        """ε."""
        return self.label_smoothing

    def log_p(self, x: Array) -> Array:
        return LogSoftmax(min(1, x.ndim - 1)).forward(x)

    def slopes(self, x: Array, q: Array) -> Array:
        return np.exp(self.log_p(x)) * q.sum(axis=min(1, x.ndim - 1), keepdims=True) - q

    def slope_formula(self, which: int) -> str:
        del which
        return "p − y" if self.label_smoothing == 0 else "p − q"

    def slope_lines(self, which: int, at: tuple[int, ...], *arrays: Any) -> list[Line]:
        del which  # only x has a gradient
        x, axis = arrays[0], min(1, arrays[0].ndim - 1)
        k, example = self.place_text(at, x)
        here = (*at[:axis], slice(None), *at[axis + 1:])
        q, p = self.wanted(*arrays)[0][here], float(np.exp(self.log_p(x)[here][k]))
        mine, total = float(q[k]), float(q.sum())
        slope = p * total - mine
        first = Line(f"p[{k}] = e^x[{k}]/Σ_j e^x[j] = {number(p)} ({example})", p)
        if total == 0:
            return [first, Line(f"the class of {example} does not count: 0", 0.0)]
        if total == 1 and set(q.tolist()) <= {0.0, 1.0}:
            right = int(q.argmax())
            note = "the right class" if right == k else f"the right class is {right}"
            return [first, Line(f"y[{k}] = {number(mine)} ({note})", mine),
                    Line(f"p − y = {number(p)} − {number(mine)} = {number(slope)}", slope)]
        return [first, Line(f"q[{k}] = {number(mine)}, wanted (weights and smoothing in it)", mine),
                Line(f"Σ_j q[j] = {number(total)}", total),
                Line(f"p·Σq − q = {number(p)}·{number(total)} − {factor(mine)} = {number(slope)}", slope)]
