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
from convscope.operators._moves import Move
from convscope.operators._operator import Shape
from convscope.operators._working import name_of, shape_text
from convscope.results import Line


@dataclass(frozen=True)
class Concat(Move):
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
    formula: ClassVar = "y = [x; x1; x2; …] along dim"
    backward_formula: ClassVar = "∂L/∂x_j = the part of δ that stands where x_j stands in y"
    back: ClassVar = "its own part of δ, cut out along the joined axis: nothing is computed"

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

    def back_sizes(self, which: int, out: str, *shapes: Any) -> str:
        first, last = self._span(which, *shapes)
        return f"{out} → {first} … {last} of axis {self.dim % len(shapes[0])} → {shape_text(shapes[which])}"

    def way(self, which: int, at: Shape, here: Shape, *shapes: Shape) -> tuple[Line, ...]:
        axis, (first, last) = self.dim % len(at), self._span(which, *shapes)
        name = name_of(self.arrays, which)
        text = f"{name} is {first} … {last} of axis {axis} of y: {first} + {at[axis]} = {here[axis]}"
        return (Line(text, float(here[axis])),)

    def _span(self, which: int, *shapes: Shape) -> tuple[int, int]:
        """The first and the last place along the joined axis that an array fills."""
        before, axis = sum(shape[self.dim] for shape in shapes[:which]), self.dim
        return before, before + shapes[which][axis] - 1


@dataclass(frozen=True)
class Stack(Move):
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
    backward_formula: ClassVar = "∂L/∂x_j = δ[…,j,…]"
    back: ClassVar = "its own entry of δ along the new axis"

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

    def back_sizes(self, which: int, out: str, *shapes: Any) -> str:
        return f"{out} → entry {which} of axis {self.dim % (len(shapes[0]) + 1)} → {shape_text(shapes[which])}"
