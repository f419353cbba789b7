"""Mean squared error.

    loss = mean of (x − target)²        ∂loss/∂x = 2·(x − target)/n

Source: Legendre 1805, Gauss 1809 (least squares).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from convscope.operators._operator import Array
from convscope.operators._reduce import Loss, require_equal


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

    def forward(self, x: Array, target: Array) -> Array:
        require_equal(x, target)
        return self.reduced((x - target) ** 2)

    def backward(self, delta: Array, x: Array, target: Array) -> tuple[Array, Array]:
        require_equal(x, target)
        grad = 2 * (x - target) * self.spread(delta, x)
        return grad, -grad
