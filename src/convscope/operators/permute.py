"""Axes in another order: permute and transpose. Numbers move, none changes.

    y[i_{d₀}, i_{d₁}, …] = x[i₀, i₁, …]        so y.shape[a] = x.shape[dims[a]]
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from convscope.errors import ShapeError
from convscope.operators._moves import Move
from convscope.operators._operator import Shape


@dataclass(frozen=True)
class Permute(Move):
    """Which axis of x does each axis of y show?

    Formula: y.shape[a] = x.shape[dims[a]]. Shapes: x any, y its axes in the order `dims`. Units: no parameters, no macs.
    windows: position by position, per axis of x; which axis went where is in `dims`. Raises ShapeError where dims is no
    order of x's axes. Source: elementary.

    >>> Permute((0, 2, 3, 1)).output_shape((1, 3, 8, 9))
    (1, 8, 9, 3)
    """

    dims: tuple[int, ...]

    aten: ClassVar = ("permute",)
    formula: ClassVar = "y[i_{d₀},i_{d₁},…] = x[i₀,i₁,…], d = dims"
    backward_formula: ClassVar = "∂L/∂x[i₀,i₁,…] = δ[i_{d₀},i_{d₁},…]"
    back: ClassVar = "δ with its axes put back in the order of x"

    def output_shape(self, x: Shape) -> Shape:
        return tuple(x[d] for d in self._order(len(x)))

    def forward(self, x: Any) -> Any:
        return x.transpose(self._order(x.ndim)).copy()

    def backward(self, delta: Any, x: Any) -> tuple[Any, ...]:
        return (delta.transpose(np.argsort(self._order(x.ndim))).copy(),)

    def _order(self, rank: int) -> tuple[int, ...]:
        order = tuple(d % rank for d in self.dims if -rank <= d < rank)
        if sorted(order) != list(range(rank)):
            raise ShapeError(f"{self.dims} is no order of {rank} axes", "each must be there once",
                             f"use the numbers 0 … {rank - 1}")
        return order


@dataclass(frozen=True)
class Transpose(Move):
    """Which two axes change places?

    Formula: y = x with axes dim0 and dim1 swapped. Units: no parameters, no macs. windows: position by position, per axis
    of x. Raises ShapeError for an axis that is not there. Source: elementary.

    >>> Transpose(-2, -1).output_shape((2, 3, 8, 9))
    (2, 3, 9, 8)
    """

    dim0: int = 0
    dim1: int = 1

    aten: ClassVar = ("transpose", "t")
    formula: ClassVar = "y[…,j,…,i,…] = x[…,i,…,j,…]"
    backward_formula: ClassVar = "∂L/∂x[…,i,…,j,…] = δ[…,j,…,i,…]"
    back: ClassVar = "δ with the same two axes swapped again"

    def output_shape(self, x: Shape) -> Shape:
        return tuple(x[d] for d in self._order(len(x)))

    def forward(self, x: Any) -> Any:
        return x.transpose(self._order(x.ndim)).copy()

    def backward(self, delta: Any, x: Any) -> tuple[Any, ...]:
        return (delta.transpose(self._order(x.ndim)).copy(),)

    def _order(self, rank: int) -> tuple[int, ...]:
        if rank < 2 and (self.dim0, self.dim1) == (0, 1):  # aten.t leaves a vector as it is
            return tuple(range(rank))
        if not all(-rank <= d < rank for d in (self.dim0, self.dim1)):
            raise ShapeError(f"axes {self.dim0} and {self.dim1} cannot be swapped", f"there are {rank} axes",
                             "use an axis that is there")
        order = list(range(rank))
        order[self.dim0], order[self.dim1] = order[self.dim1], order[self.dim0]
        return tuple(order)
