"""Mean squared error.

    loss = mean of (x − target)²        ∂loss/∂x = 2·(x − target)/n

Source: Legendre 1805, Gauss 1809 (least squares).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from convscope.operators._operator import Array
from convscope.operators._reduce import Loss, require_equal
from convscope.operators._working import number, plus, terms
from convscope.results import Line, Terms


@dataclass(frozen=True)
class MeanSquaredError(Loss):
    """How far from the target, far misses counting most?

    Shapes: x and target any, equal; y () or, with reduction 'none', theirs. Units: square of x's.
    Raises ShapeError for unequal shapes, DataError for the mean of nothing, UsageError for an unknown reduction.
    Misleads: on class scores it punishes being too right.

    >>> import numpy as np
    >>> print(MeanSquaredError().forward(np.array([1.0, 3.0]), np.array([1.0, 1.0])))
    2.0
    """

    aten: ClassVar = ("mse_loss",)
    formula: ClassVar = "loss = mean of (x − target)²"
    backward_formula: ClassVar = "∂L/∂x = δ/n · 2 · (x − target), n numbers in the mean"

    def losses(self, x: Array, target: Array) -> Array:
        require_equal(x, target)
        return (x - target) ** 2

    def forward(self, x: Array, target: Array) -> Array:
        return self.reduced(self.losses(x, target))

    def backward(self, delta: Array, x: Array, target: Array) -> tuple[Array, Array]:
        require_equal(x, target)
        grad = 2 * (x - target) * self.spread(delta, x)
        return grad, -grad

    def slope_formula(self, which: int) -> str:
        return ("2 · (x − target)", "−2 · (x − target)")[which]

    def loss_text(self, at: tuple[int, ...], x: Array, target: Array) -> str:
        return f"({number(x[at])}{plus(-target[at])})² = {number((x[at] - target[at]) ** 2)}"

    def slope_lines(self, which: int, at: tuple[int, ...], x: Array, target: Array) -> list[Line]:
        far = float(x[at] - target[at])
        slope = 2 * far if which == 0 else -2 * far
        return [Line(f"x − target = {number(x[at])}{plus(-target[at])} = {number(far)}", far),
                Line(f"{'' if which == 0 else '−'}2 · (x − target) = {number(slope)}", slope)]

    def products(self, x: Array, target: Array) -> Terms:
        places, far = np.argwhere(np.ones(x.shape, bool)), (x - target).reshape(-1)
        return terms(("x − target", places, far), ("x − target", places, far))
