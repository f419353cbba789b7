"""Negative log-likelihood: the surprise at the right class, given log-probabilities.

    loss = −Σ_k q[k]·x[k]        ∂loss/∂x = −q        q[target] = weight[target], all others 0

After a log-softmax it is the cross-entropy, and the two gradients together are p − y (see cross_entropy.py).

Source: Good 1952, "Rational Decisions" (the logarithmic score).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from convscope.operators._classes import ClassLoss
from convscope.operators._operator import Array
from convscope.operators._working import number
from convscope.results import Line


@dataclass(frozen=True)
class NegativeLogLikelihood(ClassLoss):
    """How surprised are we by the right class, having given the logarithms of all probabilities?

    Shapes: x (B, K) or (B, K, H, W) log-probabilities, or (K,) for one example; target class indices (B,) or (B, H, W);
    weight (K,) or None; y () or, with reduction 'none', x's shape without K. Target and weight get no gradient (None).
    Units: nats. Examples of class `ignore_index` do not count. Raises DataError for a class outside 0 … K − 1 or when no
    example counts, ShapeError where sizes do not fit.
    Misleads: whether x really holds logarithms of probabilities is not checked; scores give a loss without a lower end.

    >>> import numpy as np
    >>> print(NegativeLogLikelihood().forward(np.log(np.array([[0.25, 0.75]])), np.array([1])).round(4))
    0.2877
    """

    aten: ClassVar = ("nll_loss_nd", "nll_loss", "nll_loss2d", "nll_loss_forward", "nll_loss2d_forward")
    formula: ClassVar = "loss = −x[target], mean over examples"
    backward_formula: ClassVar = "∂L/∂x = δ/n · (−y), y[target] = 1, n examples in the mean"

    def log_p(self, x: Array) -> Array:
        return x

    def slopes(self, x: Array, q: Array) -> Array:
        return -q

    def slope_formula(self, which: int) -> str:
        del which
        return "−y"

    def slope_lines(self, which: int, at: tuple[int, ...], *arrays: Any) -> list[Line]:
        del which  # only x has a gradient
        k, example = self.place_text(at, arrays[0])
        mine = float(self.wanted(*arrays)[0][at])
        note = "the right class" if mine else "not the right class, or one that does not count"
        return [Line(f"y[{k}] = {number(mine)} ({note}, {example})", mine), Line(f"−y = {number(-mine + 0.0)}", -mine + 0.0)]
