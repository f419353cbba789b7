"""Layer normalisation: standardise the last axes of each example by themselves, whatever the batch.

    y = weight · (x − μ)/√(σ² + eps) + bias        μ, σ² over the last len(normalized_shape) axes

Source: Ba, Kiros, Hinton 2016, "Layer Normalization".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from convscope.errors import ShapeError
from convscope.geometry import WHOLE, Window
from convscope.operators._lines import at_text
from convscope.operators._operator import Array, Shape
from convscope.operators._standardise import standardised, through_statistics
from convscope.operators._standardise_terms import Standardising, Statistics


@dataclass(frozen=True)
class LayerNorm(Standardising):
    """How does each value compare with the others of its own example?

    Shapes: x and y (…, *normalized_shape); weight and bias (*normalized_shape). No MACs by our definition.
    Raises ShapeError where x does not end in normalized_shape or weight and bias do not have it.
    Misleads: in a channels-last map (B, H, W, C) the last axis is the channel, so positions stay apart; over (C, H, W) each
    output reads the whole image, which `windows` says.

    >>> import numpy as np
    >>> LayerNorm((2,), eps=0.0).forward(np.array([[1.0, 3.0], [10.0, 30.0]]))
    array([[-1.,  1.],
           [-1.,  1.]])
    """

    normalized_shape: tuple[int, ...]
    eps: float = 1e-5

    aten: ClassVar = ("layer_norm", "native_layer_norm")
    formula: ClassVar = "y = weight · (x − μ)/√(σ² + eps) + bias, over the last axes of each example"

    def windows(self, x: Shape, *_: Shape | None) -> tuple[Window | str, ...]:
        first = len(x) - len(self.normalized_shape)
        return tuple(WHOLE if axis >= first else Window() for axis in range(2, len(x)))

    def forward(self, x: Array, weight: Array = None, bias: Array = None) -> Array:
        y, _ = standardised(x, self._axes(x, weight, bias), self.eps)
        y = y if weight is None else y * weight
        return y if bias is None else y + bias

    def backward(self, delta: Array, x: Array, *given: Array) -> tuple[Array, ...]:
        axes = self._axes(x, *given)
        x_hat, sigma = standardised(x, axes, self.eps)
        weight = given[0] if given else None
        grad_x = through_statistics(delta if weight is None else delta * weight, x_hat, sigma, axes)
        before = tuple(range(x.ndim - len(axes)))
        sums = (delta * x_hat, delta)
        return (grad_x, *(None if a is None else s.sum(axis=before) for a, s in zip(given, sums, strict=False)))

    def statistics_at(self, at: tuple[int, ...], x: Array, *given: Array) -> Statistics:
        before = at[:x.ndim - len(self._axes(x, *given))]
        some = x[before]
        over = f"x{at_text(before)} ({'×'.join(map(str, self.normalized_shape))})"
        return Statistics(before, over, float(some.mean()), float(some.var()), self.eps)

    def shared_size(self, x: Shape) -> tuple[int, ...]:
        return tuple(self.normalized_shape)

    def meets(self, at: tuple[int, ...]) -> tuple[int, ...]:
        return at[-len(self.normalized_shape):]

    def met_by(self, at: tuple[int, ...]) -> tuple[Any, ...]:
        return (..., *at)

    def spread(self, weight: Array, x: Array) -> Array:
        return weight

    def _axes(self, x: Array, *learned: Array) -> tuple[int, ...]:
        rank, wanted = len(self.normalized_shape), tuple(self.normalized_shape)
        if not rank or x.shape[-rank:] != wanted:
            raise ShapeError(f"cannot normalise over the last axes {wanted}", f"x has the shape {x.shape}",
                             "normalized_shape must be the end of x's shape")
        for array in learned:
            if array is not None and array.shape != wanted:
                raise ShapeError(f"weight or bias of shape {array.shape} in a layer norm over {wanted}", "",
                                 "they must have that shape")
        return tuple(range(x.ndim - rank, x.ndim))
