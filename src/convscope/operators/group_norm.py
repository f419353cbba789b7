"""Group normalisation: standardise groups of channels of one example together, whatever the batch.

    y = weight[c] · (x − μ)/√(σ² + eps) + bias[c]        μ, σ² over the C/G channels of a group and all positions

G = 1 is layer normalisation over (C, H, W), G = C instance normalisation.

Source: Wu and He 2018, "Group Normalization".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from convscope.errors import ShapeError
from convscope.geometry import WHOLE
from convscope.operators._operator import Array, Shape
from convscope.operators._standardise import (
    learned_gradients,
    per_channel,
    require_channels,
    scaled,
    standardised,
    through_statistics,
)
from convscope.operators._standardise_terms import Standardising, Statistics


@dataclass(frozen=True)
class GroupNorm(Standardising):
    """How does each value compare with the others of its group of channels in its own example?

    Shapes: x and y (B, C) or (B, C, H, W), any number of spatial axes; weight and bias (C,). No MACs by our definition.
    Raises ShapeError where num_groups does not divide C.
    Misleads: every output reads the whole map, so exact receptive fields behind it cover the image (published tables, e.g.
    Araujo et al. 2019, count convolutions only).

    >>> import numpy as np
    >>> GroupNorm(2, eps=0.0).forward(np.array([[1.0, 3.0, 10.0, 30.0]]))
    array([[-1.,  1., -1.,  1.]])
    """

    num_groups: int
    eps: float = 1e-5

    aten: ClassVar = ("group_norm",)
    formula: ClassVar = "y = weight[c] · (x − μ)/√(σ² + eps) + bias[c], over the channels of a group and all positions"

    def windows(self, x: Shape, *_: Shape | None) -> tuple[str, ...]:
        return (WHOLE,) * (len(x) - 2)

    def forward(self, x: Array, weight: Array = None, bias: Array = None) -> Array:
        x_hat, _ = standardised(self._grouped(x), (2,), self.eps)
        return scaled(x_hat.reshape(x.shape), weight, bias)

    def backward(self, delta: Array, x: Array, *given: Array) -> tuple[Array, ...]:
        x_hat, sigma = standardised(self._grouped(x), (2,), self.eps)
        weight = given[0] if given else None
        d = delta if weight is None else delta * per_channel(weight, x)
        grad_x = through_statistics(self._grouped(d), x_hat, sigma, (2,)).reshape(x.shape)
        return (grad_x, *learned_gradients(delta, x_hat.reshape(x.shape), given))

    def statistics_at(self, at: tuple[int, ...], x: Array, *given: Array) -> Statistics:
        del given
        self._grouped(x)  # complains where the groups do not fit
        width = x.shape[1] // self.num_groups
        first = at[1] // width * width
        some = x[at[0], first:first + width]
        over = f"image {at[0]}, channels {first} … {first + width - 1}"
        return Statistics((at[0], slice(first, first + width)), over, float(some.mean()), float(some.var()), self.eps)

    def shared_size(self, x: Shape) -> tuple[int, ...]:
        return (x[1] // self.num_groups, *x[2:])

    def _grouped(self, x: Array) -> Array:
        """(B, G, values of a group)."""
        require_channels(x, "group normalisation")
        if self.num_groups < 1 or x.shape[1] % self.num_groups:
            raise ShapeError(f"cannot split {x.shape[1]} channels into {self.num_groups} equal groups",
                             f"x has the shape {x.shape}", f"choose a divisor of {x.shape[1]}")
        return x.reshape(x.shape[0], self.num_groups, -1)
