"""Instance normalisation: standardise every channel of every image by itself; contrast and brightness go.

    y = weight[c] · (x − μ)/√(σ² + eps) + bias[c]        μ, σ² over the positions of one channel of one image

Source: Ulyanov, Vedaldi, Lempitsky 2016, "Instance Normalization: The Missing Ingredient for Fast Stylization".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from convscope.errors import ShapeError
from convscope.geometry import WHOLE, Window
from convscope.operators._operator import Array, Shape
from convscope.operators._standardise import learned_gradients, per_channel, scaled, standardised, through_statistics
from convscope.operators._standardise_terms import Standardising, Statistics
from convscope.operators.batch_norm import BatchNorm


@dataclass(frozen=True)
class InstanceNorm(Standardising):
    """How does each position compare with the others of its own map?

    Shapes: x and y (B, C, H, W), any number of spatial axes; weight, bias, running_mean, running_var (C,).
    No MACs by our definition; running statistics are buffers: their gradient is None.
    `use_input_stats=False` takes running statistics instead and is then batch normalisation outside training.
    Raises ShapeError without a spatial axis, UsageError when running statistics are wanted and not given.
    Misleads: it takes away exactly what some tasks need, the strength of a response in this image.

    >>> import numpy as np
    >>> InstanceNorm(eps=0.0).forward(np.array([[[1.0, 3.0], [10.0, 30.0]]]))
    array([[[-1.,  1.],
            [-1.,  1.]]])
    """

    use_input_stats: bool = True
    eps: float = 1e-5

    aten: ClassVar = ("instance_norm",)
    arrays: ClassVar = ("x", "weight", "bias", "running_mean", "running_var")
    formula: ClassVar = "y = weight[c] · (x − μ[b,c])/√(σ²[b,c] + eps) + bias[c]"

    def windows(self, x: Shape, *_: Shape | None) -> tuple[Window | str, ...]:
        return ((WHOLE if self.use_input_stats else Window()),) * (len(x) - 2)

    def forward(self, x: Array, weight: Array = None, bias: Array = None, running_mean: Array = None,
                running_var: Array = None) -> Array:
        if not self.use_input_stats:
            return BatchNorm(self.eps).forward(x, weight, bias, running_mean, running_var)
        x_hat, _ = standardised(x, _positions(x), self.eps)
        return scaled(x_hat, weight, bias)

    def backward(self, delta: Array, x: Array, *given: Array) -> tuple[Array, ...]:
        if not self.use_input_stats:
            return BatchNorm(self.eps).backward(delta, x, *given)
        x_hat, sigma = standardised(x, _positions(x), self.eps)
        weight = given[0] if given else None
        d = delta if weight is None else delta * per_channel(weight, x)
        return (through_statistics(d, x_hat, sigma, _positions(x)), *learned_gradients(delta, x_hat, given))

    def statistics_at(self, at: tuple[int, ...], x: Array, *given: Array) -> Statistics:
        if not self.use_input_stats:
            return BatchNorm(self.eps).statistics_at(at, x, *given)
        _positions(x)  # complains where there is no map
        some = x[at[:2]]
        return Statistics(at[:2], f"image {at[0]}, channel {at[1]}", float(some.mean()), float(some.var()), self.eps)

    def shared_size(self, x: Shape) -> tuple[int, ...]:
        return x[2:] if self.use_input_stats else ()


def _positions(x: Array) -> tuple[int, ...]:
    if x.ndim < 3:
        raise ShapeError(f"instance normalisation of an input of shape {x.shape}", "there is no spatial axis",
                         "use (B, C, H, W)")
    return tuple(range(2, x.ndim))
