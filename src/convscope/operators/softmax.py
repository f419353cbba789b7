"""Softmax: numbers become a distribution.

    y[k] = e^x[k] / Σ_j e^x[j]        ∂L/∂x = y · (δ − Σ_k δ[k]·y[k])

The maximum is taken off first, which changes nothing but keeps the exponentials finite.

Source: Bridle 1990, "Probabilistic Interpretation of Feedforward Classification Network Outputs".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from convscope.errors import ShapeError
from convscope.geometry import WHOLE, Window
from convscope.operators._elementwise import floating
from convscope.operators._lines import factor
from convscope.operators._operator import Array, Operator, Shape
from convscope.operators._working import Working, number, plus, terms
from convscope.results import Gradient, Grid, Line


@dataclass(frozen=True)
class Softmax(Operator):
    """How is one unit of belief shared out among the classes?

    Shapes: x and y any, shared out along axis `dim`; y lies in 0 … 1 and sums to 1 along it. Raises ShapeError without it.
    Misleads: adding a constant to all scores changes nothing, so a probability says nothing about their level.

    >>> import numpy as np
    >>> Softmax().forward(np.array([[0.0, np.log(3.0)]]))
    array([[0.25, 0.75]])
    """

    dim: int = 1

    aten: ClassVar = ("softmax", "_softmax")
    formula: ClassVar = "y[k] = e^x[k] / Σ_j e^x[j]"
    backward_formula: ClassVar = "∂L/∂x[k] = y[k] · (δ[k] − Σ_j δ[j]·y[j])"

    def windows(self, x: Shape) -> tuple[Window | str, ...]:
        return shared_windows(x, self.dim)

    def forward(self, x: Array) -> Array:
        x, dim = floating(x), axis_of(x.shape, self.dim)
        e = np.exp(x - x.max(axis=dim, keepdims=True))
        return e / e.sum(axis=dim, keepdims=True)

    def backward(self, delta: Array, x: Array) -> tuple[Array]:
        y = self.forward(x)
        return (y * (delta - (delta * y).sum(axis=axis_of(x.shape, self.dim), keepdims=True)),)

    # --- written out ---------------------------------------------------------------------------------------------------

    def gradients(self, x: Shape) -> tuple[Gradient, ...]:
        classes = x[axis_of(x, self.dim)]
        return (Gradient("x", x, "y · (δ − Σ_k δ[k]·y[k]): every score moves the shares of all classes",
                         f"a sum over {classes} classes each"),)

    def explain_value(self, at: tuple[int, ...], x: Array) -> Working:
        x, dim = floating(x), axis_of(x.shape, self.dim)
        row = x[row_of(at, dim)]
        top, k = float(row.max()), at[dim]
        e = np.exp(row - top)
        mine, total = float(e[k]), float(e.sum())
        lines = (
            Line(f"the largest score is {number(top)}; taking it off all changes nothing", top),
            Line(f"e^(x[{k}] − {factor(top)}) = e^({number(row[k])}{plus(-top)}) = {number(mine)}", mine),
            Line(f"Σ_j e^(x[j] − {factor(top)}) over {len(row)} classes = {number(total)}", total),
            Line(f"y[{k}] = {number(mine)}/{number(total)} = {number(mine / total)}", mine / total),
        )
        return Working(self.formula, lines, grids=(Grid("x", row, marked=((k,),)),))

    def explain_gradient(self, which: int, at: tuple[int, ...], delta: Array, *arrays: Array) -> Working:
        del which  # there is only x
        x, dim = floating(arrays[0]), axis_of(arrays[0].shape, self.dim)
        here, k = row_of(at, dim), at[dim]
        y, d = self.forward(x)[here], delta[here]
        total = float((d * y).sum())
        value = float(y[k]) * (float(d[k]) - total)
        places = [(*at[:dim], j, *at[dim + 1:]) for j in range(len(y))]
        lines = (
            Line(f"y[{k}] = {number(y[k])}", float(y[k])),
            Line(f"Σ_j δ[j]·y[j] over {len(y)} classes = {number(total)}", total),
            Line(f"∂L/∂x[{k}] = y[{k}]·(δ[{k}] − Σ) = {number(y[k])}·({number(d[k])}{plus(-total)}) = {number(value)}",
                 value),
        )
        grids = (Grid("δ", d, marked=((k,),)), Grid("y", y, marked=((k,),)))
        return Working(self.backward_formula, lines, terms(("δ", places, d), ("y", places, y)), grids)


def row_of(at: tuple[int, ...], dim: int) -> tuple[Any, ...]:
    """The index of all classes of the distribution that `at` belongs to."""
    return (*at[:dim], slice(None), *at[dim + 1:])


def axis_of(x: Shape, dim: int) -> int:
    """`dim` counted from the front."""
    if not -len(x) <= dim < len(x):
        raise ShapeError(f"softmax along axis {dim}", f"x has the {len(x)} axes of {x}", "name one of them")
    return dim % len(x)


def shared_windows(x: Shape, dim: int) -> tuple[Window | str, ...]:
    """WHOLE along `dim`, position by position along the others."""
    return tuple(WHOLE if axis == axis_of(x, dim) else Window() for axis in range(2, len(x)))
