"""Softmax: numbers become a distribution.

    y[k] = e^x[k] / Σ_j e^x[j]        ∂L/∂x = y · (δ − Σ_k δ[k]·y[k])

The maximum is taken off first, which changes nothing but keeps the exponentials finite.

Source: Bridle 1990, "Probabilistic Interpretation of Feedforward Classification Network Outputs".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from convscope.errors import ShapeError
from convscope.geometry import WHOLE, Window
from convscope.operators._elementwise import floating
from convscope.operators._operator import Array, Operator, Shape


@dataclass(frozen=True)
class Softmax(Operator):
    """How is one unit of belief shared out among the classes?

    Shapes: x and y any, shared out along axis `dim`; y lies in 0 … 1 and sums to 1 along it. Raises ShapeError without it.
    Misleads: adding a constant to all scores changes nothing, so a probability says nothing about their level.

    >>> import numpy as np
    >>> Softmax().forward(np.array([[0.0, np.log(3.0)]]))
    array([[0.25, 0.75]])
    """

    dim: int = 1

    aten: ClassVar = ("softmax", "_softmax")
    formula: ClassVar = "y[k] = e^x[k] / Σ_j e^x[j]"

    def windows(self, x: Shape) -> tuple[Window | str, ...]:
        return shared_windows(x, self.dim)

    def forward(self, x: Array) -> Array:
        x, dim = floating(x), axis_of(x.shape, self.dim)
        e = np.exp(x - x.max(axis=dim, keepdims=True))
        return e / e.sum(axis=dim, keepdims=True)

    def backward(self, delta: Array, x: Array) -> tuple[Array]:
        y = self.forward(x)
        return (y * (delta - (delta * y).sum(axis=axis_of(x.shape, self.dim), keepdims=True)),)


def axis_of(x: Shape, dim: int) -> int:
    """`dim` counted from the front."""
    if not -len(x) <= dim < len(x):
        raise ShapeError(f"softmax along axis {dim}", f"x has the {len(x)} axes of {x}", "name one of them")
    return dim % len(x)


def shared_windows(x: Shape, dim: int) -> tuple[Window | str, ...]:
    """WHOLE along `dim`, position by position along the others."""
    return tuple(WHOLE if axis == axis_of(x, dim) else Window() for axis in range(2, len(x)))
