"""The matrix product, also of whole stacks of matrices.

    y[…, i, j] = Σ_c x[…, i, c] · other[…, c, j]

Leading axes broadcast. A vector on the left is a row, on the right a column; its axis of size 1 is dropped again.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

import numpy as np

from convscope.errors import ShapeError
from convscope.geometry import WHOLE, Window
from convscope.operators._broadcast import broadcast_shape, source_of, summed_to
from convscope.operators._operator import Operator, Shape
from convscope.operators._products import along, over_copies, product_text, whole
from convscope.operators._working import Working, place, sum_lines, taken, terms
from convscope.results import Gradient


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
    backward_formula: ClassVar = "∂L/∂x = δ·otherᵀ, ∂L/∂other = xᵀ·δ (summed over leading axes that were broadcast)"

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
        rows_shape, columns_shape, shape = _matrices(x.shape, other.shape)
        rows, columns, d = x.reshape(rows_shape), other.reshape(columns_shape), delta.reshape(shape)
        grad_x = summed_to(d @ columns.swapaxes(-1, -2), rows.shape).reshape(x.shape)
        return grad_x, summed_to(rows.swapaxes(-1, -2) @ d, columns.shape).reshape(other.shape)

    # --- written out ---------------------------------------------------------------------------------------------------

    def gradients(self, x: Shape, other: Shape) -> tuple[Gradient, ...]:
        rows, columns, out = _matrices(x, other)
        (n, c), m, macs = rows[-2:], columns[-1], self.macs(x, other)
        times = f", {prod(out[:-2])} times" if prod(out[:-2]) > 1 else ""
        summed = ["" if a[:-2] == out[:-2] else "; summed over leading axes that were broadcast" for a in (rows, columns)]
        return (Gradient("x", x, "δ times the other factor, transposed" + summed[0],
                         f"δ·otherᵀ: {product_text((n, m), (c, m), 'right')}{times}", macs),
                Gradient("other", other, "the first factor, transposed, times δ" + summed[1],
                         f"xᵀ·δ: {product_text((n, c), (n, m), 'left')}{times}", macs))

    def explain_value(self, at: tuple[int, ...], x: Any, other: Any) -> Working:
        rows, columns, out = _matrices(x.shape, other.shape)
        full = iter(at)
        lead = [next(full) for _ in out[:-2]]
        i, j = (next(full) if x.ndim > 1 else 0), (next(full) if other.ndim > 1 else 0)
        left = (*map(int, source_of(lead, rows[:-2])), i, None)
        right = (*map(int, source_of(lead, columns[:-2])), None, j)
        made = along(("x", x, left if x.ndim > 1 else (None,)), ("other", other, right if other.ndim > 1 else (None,)))
        (n, c), m = rows[-2:], columns[-1]
        one = whole("it stands in the matrix product", product_text((n, c), (c, m)), n * c * m)
        return Working(self.formula, (one, *sum_lines(made, place("y", at))), made)

    def explain_gradient(self, which: int, at: tuple[int, ...], delta: Any, *arrays: Any) -> Working:
        x, other = arrays
        rows, columns, out = _matrices(x.shape, other.shape)
        d, a, b = delta.reshape(out), x.reshape(rows), other.reshape(columns)
        if which == 0:
            *lead, i, c = at if x.ndim > 1 else (0, *at)
            summed = over_copies(tuple(lead), rows[:-2], out[:-2], out[-1])
            fixed = np.full(len(summed), i)
            here = np.column_stack([summed[:, :-1], fixed, summed[:, -1]])
            there = np.column_stack([source_of(summed[:, :-1], columns[:-2]), np.full(len(summed), c), summed[:, -1]])
            made = terms(("δ", here, taken(d, here)), ("other", there, taken(b, there)))
            formula = "∂L/∂x[…,i,c] = Σ_j δ[…,i,j] · other[…,c,j]"
        else:
            *lead, c, j = at if other.ndim > 1 else (*at, 0)
            summed = over_copies(tuple(lead), columns[:-2], out[:-2], out[-2])
            here = np.column_stack([summed, np.full(len(summed), j)])
            there = np.column_stack([source_of(summed[:, :-1], rows[:-2]), summed[:, -1], np.full(len(summed), c)])
            made = terms(("δ", here, taken(d, here)), ("x", there, taken(a, there)))
            formula = "∂L/∂other[…,c,j] = Σ_i x[…,i,c] · δ[…,i,j]"
        return Working(formula, sum_lines(made, f"∂L/∂{place(self.arrays[which], at)}"), made)


def _matrices(x: Shape, other: Shape) -> tuple[Shape, Shape, Shape]:
    """Shapes of both factors and of the product with a vector written as a row or a column."""
    rows = (1, *x) if len(x) == 1 else x
    columns = (*other, 1) if len(other) == 1 else other
    return rows, columns, (*broadcast_shape(rows[:-2], columns[:-2]), rows[-2], columns[-1])
