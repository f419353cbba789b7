"""The logarithm of softmax, without the detour through small numbers.

    y[k] = x[k] − log Σ_j e^x[j]        ∂L/∂x = δ − e^y · Σ_k δ[k]

Source: Bridle 1990 for softmax; the shifted form is the log-sum-exp identity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from convscope.geometry import Window
from convscope.operators._elementwise import floating
from convscope.operators._operator import Array, Operator, Shape
from convscope.operators.softmax import axis_of, shared_windows


@dataclass(frozen=True)
class LogSoftmax(Operator):
    """How surprising would each class be?

    Shapes: x and y any, normalised along axis `dim`; −y is the surprise in nats, at least 0. Raises ShapeError without it.

    >>> import numpy as np
    >>> LogSoftmax().forward(np.array([[0.0, 1000.0]]))
    array([[-1000.,     0.]])
    """

    dim: int = 1

    aten: ClassVar = ("log_softmax", "_log_softmax")
    formula: ClassVar = "y[k] = x[k] − log Σ_j e^x[j]"

    def windows(self, x: Shape) -> tuple[Window | str, ...]:
        return shared_windows(x, self.dim)

    def forward(self, x: Array) -> Array:
        x, dim = floating(x), axis_of(x.shape, self.dim)
        shifted = x - x.max(axis=dim, keepdims=True)
        return shifted - np.log(np.exp(shifted).sum(axis=dim, keepdims=True))

    def backward(self, delta: Array, x: Array) -> tuple[Array]:
        return (delta - np.exp(self.forward(x)) * delta.sum(axis=axis_of(x.shape, self.dim), keepdims=True),)
