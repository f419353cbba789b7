"""What the normalisation layers share: x̂ = (x − μ)/σ over a set of axes, and weight and bias per channel (axis 1).

Backward through mean and deviation, with d = ∂L/∂x̂ and means taken over the same axes (Ioffe and Szegedy 2015, section 3):

    ∂L/∂x = (d − mean(d) − x̂·mean(d·x̂)) / σ
"""

from __future__ import annotations

import numpy as np

from convscope.errors import ShapeError
from convscope.operators._operator import Array

Axes = tuple[int, ...]


def standardised(x: Array, axes: Axes, eps: float) -> tuple[Array, Array]:
    """x̂ and σ = √(variance + eps), the variance being that of the values themselves (divided by n)."""
    sigma = np.sqrt(x.var(axis=axes, keepdims=True) + eps)
    return (x - x.mean(axis=axes, keepdims=True)) / sigma, sigma


def through_statistics(d: Array, x_hat: Array, sigma: Array, axes: Axes) -> Array:
    """∂L/∂x from d = ∂L/∂x̂ when mean and deviation were taken from x."""
    shared = d.mean(axis=axes, keepdims=True) + x_hat * (d * x_hat).mean(axis=axes, keepdims=True)
    return (d - shared) / sigma


def per_channel(values: Array, x: Array) -> Array:
    """(C,) seen as (1, C, 1, …), so that it meets axis 1 of x."""
    if values.shape != (x.shape[1],):
        raise ShapeError(f"values of shape {values.shape} do not fit {x.shape[1]} channels", f"x has the shape {x.shape}",
                         f"use one value a channel: ({x.shape[1]},)")
    return values.reshape(1, -1, *(1,) * (x.ndim - 2))


def scaled(x_hat: Array, weight: Array = None, bias: Array = None) -> Array:
    """weight·x̂ + bias per channel; None means 1 and 0."""
    y = x_hat if weight is None else x_hat * per_channel(weight, x_hat)
    return y if bias is None else y + per_channel(bias, x_hat)


def learned_gradients(delta: Array, x_hat: Array, given: tuple[Array, ...]) -> tuple[Array, ...]:
    """∂L/∂weight = Σ δ·x̂ and ∂L/∂bias = Σ δ over all axes but the channel's; None for what is None or no parameter.

    `given` holds the arrays after x as forward took them: weight, bias, then running statistics.
    """
    others = (0, *range(2, delta.ndim))
    terms = (delta * x_hat, delta)
    return tuple(terms[i].sum(axis=others) if i < 2 and a is not None else None for i, a in enumerate(given))


def require_channels(x: Array, what: str) -> None:
    if x.ndim < 2:
        raise ShapeError(f"{what} of an input of shape {x.shape}", "axis 1 must count channels",
                         "use (B, C) or (B, C, H, W)")
