"""Max unpooling: every value goes back to where it won in max pooling; all other places are 0.

    y[b, c, index[b, c, i]] = x[b, c, i]

Source: Zeiler, Taylor, Fergus 2011, "Adaptive deconvolutional networks for mid and high level feature learning" (the
switches).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

import numpy as np

from convscope.errors import ShapeError
from convscope.geometry import WHOLE, Window
from convscope.operators._lines import require_gradient
from convscope.operators._moves import Move
from convscope.operators._operator import Shape
from convscope.operators._working import Working, number, place, terms
from convscope.results import Line


@dataclass(frozen=True)
class MaxUnpool(Move):
    """Where did these maxima stand before they were pooled?

    Shapes: x and indices (B, C, h, w), y (B, C, *output_size); indices count in row order over one channel's map.
    Units: no parameters, no macs. Raises ShapeError for an index outside the output. windows: WHOLE, since an index may
    point anywhere (where it came from max pooling, it stays in that window). Misleads: where windows overlap two values may
    share an index; the last in row order stays, the other is lost, and yet both get the gradient. Source: Zeiler et al.
    2011.

    >>> MaxUnpool((4,)).forward(np.array([[[5.0, 7.0]]]), np.array([[[1, 2]]])).tolist()
    [[[0.0, 5.0, 7.0, 0.0]]]
    """

    output_size: tuple[int, ...]

    aten: ClassVar = ("max_unpool2d", "max_unpool3d")  # PyTorch computes the 1-D one as 2-D
    arrays: ClassVar = ("x", "indices")
    moved: ClassVar = 1
    formula: ClassVar = "y[b,c,indices[b,c,i]] = x[b,c,i], 0 elsewhere"
    backward_formula: ClassVar = "∂L/∂x[b,c,i] = δ[b,c,indices[b,c,i]]"
    back: ClassVar = "each value takes the δ of the place that it was put to"

    def output_shape(self, x: Shape, indices: Shape) -> Shape:
        if x != indices or len(x) - 2 != len(self.output_size):
            raise ShapeError(f"unpooling values {x} by indices {indices} to {self.output_size} does not fit",
                             "values and indices have one shape, and the output as many spatial axes",
                             "take values and indices from the same pooling")
        return (*x[:2], *self.output_size)

    def windows(self, x: Shape, indices: Shape) -> tuple[Window | str, ...]:
        return (WHOLE,) * len(self.output_size)

    def forward(self, x: Any, indices: Any) -> Any:
        out = self.output_shape(x.shape, indices.shape)
        n = prod(self.output_size)
        if indices.size and (indices.min() < 0 or indices.max() >= n):
            raise ShapeError(f"an unpooling index lies outside a map of {n} positions",
                             f"indices run from {indices.min()} to {indices.max()}",
                             "use the output size that was pooled")
        y = np.zeros((*x.shape[:2], n), x.dtype)
        np.put_along_axis(y, indices.reshape(*x.shape[:2], -1), x.reshape(*x.shape[:2], -1), axis=-1)
        return y.reshape(out)

    def backward(self, delta: Any, x: Any, indices: Any) -> tuple[Any, ...]:
        flat = indices.reshape(*x.shape[:2], -1)
        return np.take_along_axis(delta.reshape(*x.shape[:2], -1), flat, axis=-1).reshape(x.shape), None

    def explain_gradient(self, which: int, at: tuple[int, ...], delta: Any, *arrays: Any) -> Working:
        require_gradient(self, which, (0,))
        index = int(arrays[1][at])
        there = (*at[:2], *map(int, np.unravel_index(index, self.output_size)))
        sharing = int((arrays[1][at[:2]] == index).sum())
        lines = [Line(f"{place('indices', at)} = {index}, which is {place('y', there)}", float(index))]
        if sharing > 1:  # forward kept the last of them
            lines.append(Line(f"{sharing} values were put there; the last stayed, and each gets its δ", float(sharing)))
        value = float(delta[there])
        lines.append(Line(f"∂L/∂{place('x', at)} = {place('δ', there)} = {number(value)}", value))
        return Working(self.backward_formula, tuple(lines), terms(("δ", [there], [value]), ("copy", [there], [1.0])))
