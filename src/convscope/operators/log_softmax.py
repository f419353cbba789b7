"""The logarithm of softmax, without the detour through small numbers.

    y[k] = x[k] − log Σ_j e^x[j]        ∂L/∂x = δ − e^y · Σ_k δ[k]

Source: Bridle 1990 for softmax; the shifted form is the log-sum-exp identity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from convscope.geometry import Window
from convscope.operators._elementwise import floating
from convscope.operators._lines import factor
from convscope.operators._operator import Array, Operator, Shape
from convscope.operators._working import Working, number, plus, terms
from convscope.operators.softmax import axis_of, row_of, shared_windows
from convscope.results import Gradient, Grid, Line


@dataclass(frozen=True)
class LogSoftmax(Operator):
    """How surprising would each class be?

    Shapes: x and y any, normalised along axis `dim`; −y is the surprise in nats, at least 0. Raises ShapeError without it.

    >>> import numpy as np
    >>> LogSoftmax().forward(np.array([[0.0, 1000.0]]))
    array([[-1000.,     0.]])
    """

    dim: int = 1

    aten: ClassVar = ("log_softmax", "_log_softmax")
    formula: ClassVar = "y[k] = x[k] − log Σ_j e^x[j]"
    backward_formula: ClassVar = "∂L/∂x[k] = δ[k] − e^y[k] · Σ_j δ[j]"

    def windows(self, x: Shape) -> tuple[Window | str, ...]:
        return shared_windows(x, self.dim)

    def forward(self, x: Array) -> Array:
        x, dim = floating(x), axis_of(x.shape, self.dim)
        shifted = x - x.max(axis=dim, keepdims=True)
        return shifted - np.log(np.exp(shifted).sum(axis=dim, keepdims=True))

    def backward(self, delta: Array, x: Array) -> tuple[Array]:
        return (delta - np.exp(self.forward(x)) * delta.sum(axis=axis_of(x.shape, self.dim), keepdims=True),)

    # --- written out ---------------------------------------------------------------------------------------------------

    def gradients(self, x: Shape) -> tuple[Gradient, ...]:
        classes = x[axis_of(x, self.dim)]
        return (Gradient("x", x, "δ − p · Σ_k δ[k], p = softmax(x) = e^y", f"a sum over {classes} classes each"),)

    def explain_value(self, at: tuple[int, ...], x: Array) -> Working:
        x, dim = floating(x), axis_of(x.shape, self.dim)
        row, k = x[row_of(at, dim)], at[dim]
        top = float(row.max())
        shifted, total = float(row[k]) - top, float(np.exp(row - top).sum())
        value = shifted - float(np.log(total))
        lines = (
            Line(f"the largest score is {number(top)}; taking it off all changes nothing", top),
            Line(f"Σ_j e^(x[j] − {factor(top)}) over {len(row)} classes = {number(total)}", total),
            Line(f"log {number(total)} = {number(np.log(total))}", float(np.log(total))),
            Line(f"y[{k}] = {number(row[k])}{plus(-top)}{plus(-np.log(total))} = {number(value)}", value),
        )
        return Working(self.formula, lines, grids=(Grid("x", row, marked=((k,),)),))

    def explain_gradient(self, which: int, at: tuple[int, ...], delta: Array, *arrays: Array) -> Working:
        del which  # there is only x
        x, dim = floating(arrays[0]), axis_of(arrays[0].shape, self.dim)
        here, k = row_of(at, dim), at[dim]
        p, d = float(np.exp(self.forward(x)[here][k])), delta[here]
        total = float(d.sum())
        value = float(d[k]) - p * total
        places = [(*at[:dim], j, *at[dim + 1:]) for j in range(len(d))]
        lines = (
            Line(f"p[{k}] = e^y[{k}] = {number(p)}", p),
            Line(f"Σ_j δ[j] over {len(d)} classes = {number(total)}", total),
            Line(f"∂L/∂x[{k}] = δ[{k}] − p[{k}]·Σ = {number(d[k])} − {factor(p)}·{factor(total)} = {number(value)}", value),
        )
        made = terms(("δ", places, d), ("1", places, np.ones(len(d))))
        return Working(self.backward_formula, lines, made, (Grid("δ", d, marked=((k,),)),))
