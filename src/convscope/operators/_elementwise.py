"""What activations share: y[i] = value(x[i]), so that ∂L/∂x[i] = δ[i] · slope(x[i]), whatever the shape.

A leaf writes the two formulas, as code and as text. At a kink the slope is the one that PyTorch takes; each leaf says which.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from convscope.operators._lines import count, factor, filled
from convscope.operators._operator import Array, Operator, Shape
from convscope.operators._working import Working, number, terms
from convscope.results import Gradient, Line

SLOPE = "∂L/∂x = δ · dy/dx,  dy/dx = "  # how the backward formula of every activation begins


@dataclass(frozen=True)
class Elementwise(Operator):
    """An operation that treats every number by itself. Never made by itself."""

    def value(self, x: Array) -> Array:
        """y, number by number."""
        raise NotImplementedError

    def slope(self, x: Array) -> Array:
        """dy/dx, number by number."""
        raise NotImplementedError

    def forward(self, x: Array) -> Array:
        x = floating(x)
        return self.value(x).astype(x.dtype, copy=False)

    def backward(self, delta: Array, x: Array) -> tuple[Array]:
        x = floating(x)
        return ((delta * self.slope(x)).astype(x.dtype, copy=False),)

    # --- written out ---------------------------------------------------------------------------------------------------

    def texts(self) -> tuple[str, str]:
        """The formula of y and that of its slope dy/dx, with letters."""
        return self.formula, self.backward_formula.removeprefix(SLOPE)

    def remark(self, x: float, slope: float) -> str:
        """What there is to say about the way back at this x; '' where the slope says it all."""
        return f"x = {number(x)}: blocked" if slope == 0 else ""

    def gradients(self, x: Shape) -> tuple[Gradient, ...]:
        return (Gradient("x", x, f"δ times the slope at each number by itself: dy/dx = {self.texts()[1]}",
                         f"{count(x)} slopes"),)

    def explain_value(self, at: tuple[int, ...], x: Array) -> Working:
        here = floating(np.asarray(x[at]))
        y = float(self.forward(here))
        line = Line(f"{self._filled(self.texts()[0], here)} = {number(y)}", y)
        return Working(self.texts()[0], (Line(f"x = {number(float(here))}", float(here)), line))

    def explain_gradient(self, which: int, at: tuple[int, ...], delta: Array, *arrays: Array) -> Working:
        del which  # there is only x
        here, d = floating(np.asarray(arrays[0][at])), float(delta[at])
        slope = float(self.slope(here))
        total, note = d * slope + 0.0, self.remark(float(here), slope)  # + 0.0: no −0
        text = f"dy/dx = {self._filled(self.texts()[1], here)} = {number(slope)}"
        lines = (Line(text + (f" ({note})" if note else ""), slope),
                 Line(f"∂L/∂x = δ · dy/dx = {number(d)} · {factor(slope)} = {number(total)}", total))
        return Working(self.backward_formula, lines, terms(("δ", [at], [d]), ("dy/dx", [at], [slope])))

    def _filled(self, formula: str, x: Any) -> str:
        settings = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return filled(formula, {"x": float(x), **{k: v for k, v in settings.items() if isinstance(v, (int, float))}})


def floating(x: Array) -> Array:
    """x itself if it holds floating-point numbers, else as float64: a sigmoid of integers is no integer."""
    return x if np.issubdtype(x.dtype, np.floating) else x.astype(np.float64)


def logistic(x: Array) -> Array:
    """1/(1 + e^−x), written with e^−|x| so that nothing overflows and small values keep their digits."""
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


def softplus(x: Array) -> Array:
    """log(1 + e^x), whose slope is the logistic function, without overflow."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))
