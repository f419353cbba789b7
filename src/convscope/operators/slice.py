"""A part of an array: a slice along one axis, or a single entry of it.

    slice: y[…, i, …] = x[…, start + i·step, …]        select: y = x[…, index, …]

The backward pass writes delta to where it was taken from, and 0 elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from convscope.errors import ShapeError
from convscope.geometry import WHOLE, Window
from convscope.operators._moves import Move
from convscope.operators._operator import Shape


@dataclass(frozen=True)
class Slice(Move):
    """Which part of one axis is kept?

    Formula: y[…,i,…] = x[…,start + i·step,…]. Shapes: x any; y has ⌈(end − start)/step⌉ along `dim`; negative numbers count
    from the end, as in Python. Units: no parameters, no macs. windows: along a spatial `dim` a window of one pixel with
    stride step, shifted by start; WHOLE where start is a free symbol of the graph. Raises ShapeError for an axis that is
    not there and where sizes would depend on such a symbol. Source: elementary.

    >>> Slice(2, 1, None, 2).output_shape((1, 3, 8, 8)), Slice(2, 1, None, 2).windows((1, 3, 8, 8))[0]
    ((1, 3, 4, 8), Window(kernel=1, stride=2, padding=-1, dilation=1, transposed=False))
    """

    dim: int = 0
    start: int | str | None = None
    end: int | str | None = None
    step: int = 1

    aten: ClassVar = ("slice",)
    formula: ClassVar = "y[…,i,…] = x[…,start + i·step,…]"
    backward_formula: ClassVar = "∂L/∂x[…,start + i·step,…] = δ[…,i,…], 0 elsewhere"
    back: ClassVar = "δ written to where it was taken from, 0 elsewhere"

    def output_shape(self, x: Shape) -> Shape:
        axis = axis_of(self.dim, x)
        return (*x[:axis], len(range(*self._part().indices(x[axis]))), *x[axis + 1:])

    def windows(self, x: Shape) -> tuple[Window | str, ...]:
        axis = axis_of(self.dim, x)
        if isinstance(self.start, str):
            along: Window | str = WHOLE
        else:
            along = Window(stride=self.step, padding=-slice(self.start, None).indices(x[axis])[0])
        return tuple(along if a == axis else Window() for a in range(2, len(x)))

    def forward(self, x: Any) -> Any:
        return x[self._where(x.shape)].copy()

    def backward(self, delta: Any, x: Any) -> tuple[Any, ...]:
        grad = np.zeros(x.shape, delta.dtype)
        grad[self._where(x.shape)] = delta
        return (grad,)

    def _where(self, x: Shape) -> tuple[slice, ...]:
        return (*(slice(None),) * axis_of(self.dim, x), self._part())

    def _part(self) -> slice:
        if isinstance(self.start, str) or isinstance(self.end, str):
            raise ShapeError(f"the slice {self.start}:{self.end} depends on the input's size",
                             "its ends are symbols of the graph", "export with a fixed size, or give numbers")
        return slice(self.start, self.end, self.step)


@dataclass(frozen=True)
class Select(Move):
    """Which single entry of one axis is kept?

    Formula: y = x[…, index, …]. Shapes: x any, y without axis `dim`. `unbind` is read as its first piece (index 0). Units:
    no parameters, no macs. windows, per spatial axis of x: one pixel; the axis `dim` itself is gone in y. Raises ShapeError
    for an axis or entry that is not there. Source: elementary.

    >>> Select(1, -1).output_shape((5, 7, 3))
    (5, 3)
    """

    dim: int = 0
    index: int = 0

    aten: ClassVar = ("select", "unbind")
    formula: ClassVar = "y = x[…,index,…]"
    backward_formula: ClassVar = "∂L/∂x[…,index,…] = δ, 0 elsewhere"
    back: ClassVar = "δ written to where it was taken from, 0 elsewhere"

    def output_shape(self, x: Shape) -> Shape:
        axis = axis_of(self.dim, x)
        if not -x[axis] <= self.index < x[axis]:
            raise ShapeError(f"no entry {self.index} along axis {axis}", f"it has {x[axis]}", "select one that is there")
        return (*x[:axis], *x[axis + 1:])

    def windows(self, x: Shape) -> tuple[Window | str, ...]:
        axis = axis_of(self.dim, x)
        return tuple(Window(padding=-(self.index % x[axis])) if a == axis else Window() for a in range(2, len(x)))

    def forward(self, x: Any) -> Any:
        self.output_shape(x.shape)
        return np.take(x, self.index, axis=self.dim)

    def backward(self, delta: Any, x: Any) -> tuple[Any, ...]:
        grad = np.zeros(x.shape, delta.dtype)
        np.moveaxis(grad, self.dim, 0)[self.index] = delta
        return (grad,)


def axis_of(dim: int, x: Shape) -> int:
    """The axis counted from the front; ShapeError if it is not there."""
    if not -len(x) <= dim < len(x):
        raise ShapeError(f"no axis {dim} in {x}", f"there are {len(x)}", "use an axis that is there")
    return dim % len(x)
