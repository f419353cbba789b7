"""The matrix product, also of whole stacks of matrices.

    y[…, i, j] = Σ_c x[…, i, c] · other[…, c, j]

Leading axes broadcast. A vector on the left is a row, on the right a column; its axis of size 1 is dropped again.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

from convscope.errors import ShapeError
from convscope.geometry import WHOLE, Window
from convscope.operators._broadcast import broadcast_shape, summed_to
from convscope.operators._operator import Operator, Shape


@dataclass(frozen=True)
class MatMul(Operator):
    """Which inner products of rows and columns are taken?

    Shapes: x (…, n, C), other (…, C, m), y (…, n, m); either may be a vector (C,). Units: macs counts n·m·C products per
    matrix. windows: along x's last axis every output reads the whole, along its other axes position by position; `other` is
    read whole on both of its last axes. Raises ShapeError where inner or leading sizes do not fit. Source: Cayley 1858.

    >>> MatMul().output_shape((8, 5, 4), (8, 4, 5)), MatMul().macs((8, 5, 4), (8, 4, 5))
    ((8, 5, 5), 800)
    """

    aten: ClassVar = ("matmul", "mm", "bmm", "mv", "dot")
    arrays: ClassVar = ("x", "other")
    formula: ClassVar = "y[…,i,j] = Σ_c x[…,i,c] · other[…,c,j]"

    def output_shape(self, x: Shape, other: Shape) -> Shape:
        if not x or not other or x[-1] != other[-2:][0]:
            raise ShapeError(f"matrices of shapes {x} and {other} cannot be multiplied", "the inner sizes must agree",
                             "transpose one of them")
        return (*broadcast_shape(x[:-2], other[:-2]), *x[-2:-1], *(other[-1:] if len(other) > 1 else ()))

    def macs(self, x: Shape, other: Shape) -> int:
        return prod(self.output_shape(x, other)) * x[-1]

    def windows(self, x: Shape, other: Shape) -> tuple[Window | str, ...]:
        return (*(Window() for _ in x[2:-1]), WHOLE) if len(x) > 2 else ()

    def forward(self, x: Any, other: Any) -> Any:
        self.output_shape(x.shape, other.shape)
        return x @ other

    def backward(self, delta: Any, x: Any, other: Any) -> tuple[Any, ...]:
        rows = x[None, :] if x.ndim == 1 else x
        columns = other[:, None] if other.ndim == 1 else other
        shape = (*broadcast_shape(rows.shape[:-2], columns.shape[:-2]), rows.shape[-2], columns.shape[-1])
        d = delta.reshape(shape)
        grad_x = summed_to(d @ columns.swapaxes(-1, -2), rows.shape).reshape(x.shape)
        return grad_x, summed_to(rows.swapaxes(-1, -2) @ d, columns.shape).reshape(other.shape)
