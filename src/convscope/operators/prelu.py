"""Parametric rectified linear unit: the slope below zero is learned, one for all channels or one a channel.

    y = x for x > 0, weight[c] · x below

Source: He, Zhang, Ren, Sun 2015, "Delving Deep into Rectifiers".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from convscope.errors import ShapeError
from convscope.operators._operator import Array, Operator


@dataclass(frozen=True)
class PReLU(Operator):
    """How much evidence is there, with a learned voice for the contrary?

    Shapes: x and y (B, C) or (B, C, H, W), any number of spatial axes; weight (1,) or (C,).
    At the kink x = 0 the slope is weight. Raises ShapeError where weight is neither single nor one a channel.

    >>> import numpy as np
    >>> PReLU().forward(np.array([[-1.0, -2.0]]), np.array([0.1, 0.5]))
    array([[-0.1, -1. ]])
    """

    aten: ClassVar = ("prelu", "_prelu_kernel")
    arrays: ClassVar = ("x", "weight")
    learned: ClassVar = ("weight",)
    formula: ClassVar = "y = x if x > 0 else weight[c] · x"

    def forward(self, x: Array, weight: Array) -> Array:
        return np.where(x > 0, x, _along_channels(weight, x) * x)

    def backward(self, delta: Array, x: Array, weight: Array) -> tuple[Array, Array]:
        steep = _along_channels(weight, x)
        terms = delta * np.where(x > 0, 0, x)
        others = tuple(axis for axis in range(x.ndim) if axis != 1 or weight.size == 1)
        return delta * np.where(x > 0, 1, steep), terms.sum(axis=others, dtype=x.dtype).reshape(weight.shape)


def _along_channels(weight: Array, x: Array) -> Array:
    """weight so that it meets axis 1 of x; the graph may hold it as (C,) or already as (1, C, 1, 1)."""
    channels = x.shape[1] if x.ndim > 1 else 1
    if weight.size not in (1, channels):
        raise ShapeError(f"{weight.size} slopes for {channels} channels", f"x has the shape {x.shape}",
                         "use one slope, or one a channel")
    return weight.reshape(()) if weight.size == 1 else weight.reshape(1, -1, *(1,) * (x.ndim - 2))
