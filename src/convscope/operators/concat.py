"""Branches side by side: along an axis that exists (concat) or a new one (stack). The backward pass cuts delta apart again.

Source: Szegedy et al. 2014, "Going Deeper with Convolutions"; Huang et al. 2016, "Densely Connected Convolutional Networks".
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import Any, ClassVar

import numpy as np

from convscope.errors import ShapeError
from convscope.geometry import WHOLE, Window
from convscope.operators._operator import Operator, Shape


@dataclass(frozen=True)
class Concat(Operator):
    """Which branch does each slice of the output come from?

    Formula: y = [x₀; x₁; …] along axis `dim`. Shapes: any number of arrays, equal but for `dim`; y has the sum of their
    sizes. Units: no parameters, no macs. windows: position by position; along a spatial `dim` WHOLE, since branches are
    shifted differently. Raises ShapeError where other sizes differ. Source: Szegedy et al. 2014.

    >>> Concat(1).output_shape((1, 64, 28, 28), (1, 128, 28, 28), (1, 32, 28, 28))
    (1, 224, 28, 28)
    """

    dim: int = 0

    aten: ClassVar = ("cat",)
    arrays: ClassVar = ("x", "…")
    formula: ClassVar = "y = [x₀; x₁; …] along dim"

    def output_shape(self, *shapes: Shape) -> Shape:
        axis = self.dim % len(shapes[0])
        rest = {(*shape[:axis], *shape[axis + 1:]) for shape in shapes}
        if len(rest) > 1:
            raise ShapeError(f"arrays of shapes {', '.join(map(str, shapes))} cannot be joined along axis {axis}",
                             "all other sizes must agree", "resize or pad the smaller ones")
        return (*shapes[0][:axis], sum(shape[axis] for shape in shapes), *shapes[0][axis + 1:])

    def windows(self, *shapes: Shape) -> tuple[Window | str, ...]:
        axis = self.dim % len(shapes[0])
        return tuple(WHOLE if a == axis else Window() for a in range(2, len(shapes[0])))

    def forward(self, *arrays: Any) -> Any:
        self.output_shape(*(a.shape for a in arrays))
        return np.concatenate(arrays, axis=self.dim)

    def backward(self, delta: Any, *arrays: Any) -> tuple[Any, ...]:
        ends = list(accumulate(a.shape[self.dim] for a in arrays))
        return tuple(piece.copy() for piece in np.split(delta, ends[:-1], axis=self.dim))


@dataclass(frozen=True)
class Stack(Operator):
    """Which array is which along the new axis?

    Formula: y[…, j, …] = x_j along a new axis `dim`. Shapes: n equal arrays; y has one axis of size n more. Units: no
    parameters, no macs. windows: position by position. Raises ShapeError where shapes differ. Source: elementary.

    >>> Stack(1).output_shape((2, 5), (2, 5), (2, 5))
    (2, 3, 5)
    """

    dim: int = 0

    aten: ClassVar = ("stack",)
    arrays: ClassVar = ("x", "…")
    formula: ClassVar = "y[…,j,…] = x_j along a new axis dim"

    def output_shape(self, *shapes: Shape) -> Shape:
        if len(set(shapes)) > 1:
            raise ShapeError(f"arrays of shapes {', '.join(map(str, shapes))} cannot be stacked", "all must be equal",
                             "use concat")
        axis = self.dim % (len(shapes[0]) + 1)
        return (*shapes[0][:axis], len(shapes), *shapes[0][axis:])

    def forward(self, *arrays: Any) -> Any:
        self.output_shape(*(a.shape for a in arrays))
        return np.stack(arrays, axis=self.dim)

    def backward(self, delta: Any, *arrays: Any) -> tuple[Any, ...]:
        return tuple(np.take(delta, j, axis=self.dim) for j in range(len(arrays)))
