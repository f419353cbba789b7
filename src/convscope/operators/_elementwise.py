"""What activations share: y[i] = value(x[i]), so that ∂L/∂x[i] = δ[i] · slope(x[i]), whatever the shape.

A leaf writes the two formulas. At a kink the slope is the one that PyTorch takes; each leaf says which.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from convscope.operators._operator import Array, Operator


@dataclass(frozen=True)
class Elementwise(Operator):
    """An operation that treats every number by itself. Never made by itself."""

    def value(self, x: Array) -> Array:
        """y, number by number."""
        raise NotImplementedError

    def slope(self, x: Array) -> Array:
        """dy/dx, number by number."""
        raise NotImplementedError

    def forward(self, x: Array) -> Array:
        x = floating(x)
        return self.value(x).astype(x.dtype, copy=False)

    def backward(self, delta: Array, x: Array) -> tuple[Array]:
        x = floating(x)
        return ((delta * self.slope(x)).astype(x.dtype, copy=False),)


def floating(x: Array) -> Array:
    """x itself if it holds floating-point numbers, else as float64: a sigmoid of integers is no integer."""
    return x if np.issubdtype(x.dtype, np.floating) else x.astype(np.float64)


def logistic(x: Array) -> Array:
    """1/(1 + e^−x), written with e^−|x| so that nothing overflows and small values keep their digits."""
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


def softplus(x: Array) -> Array:
    """log(1 + e^x), whose slope is the logistic function, without overflow."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))
