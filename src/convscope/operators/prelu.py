"""Parametric rectified linear unit: the slope below zero is learned, one for all channels or one a channel.

    y = x for x > 0, weight[c] · x below

Source: He, Zhang, Ren, Sun 2015, "Delving Deep into Rectifiers".
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np

from convscope.errors import ShapeError
from convscope.operators._lines import at_text, count, factor
from convscope.operators._operator import Array, Operator, Shape
from convscope.operators._working import Working, number, sum_lines, terms
from convscope.results import Gradient, Line


@dataclass(frozen=True)
class PReLU(Operator):
    """How much evidence is there, with a learned voice for the contrary?

    Shapes: x and y (B, C) or (B, C, H, W), any number of spatial axes; weight (1,) or (C,).
    At the kink x = 0 the slope is weight. Raises ShapeError where weight is neither single nor one a channel.

    >>> import numpy as np
    >>> PReLU().forward(np.array([[-1.0, -2.0]]), np.array([0.1, 0.5]))
    array([[-0.1, -1. ]])
    """

    aten: ClassVar = ("prelu", "_prelu_kernel")
    arrays: ClassVar = ("x", "weight")
    learned: ClassVar = ("weight",)
    formula: ClassVar = "y = x if x > 0 else weight[c] · x"
    backward_formula: ClassVar = "∂L/∂x = δ · (1 if x > 0 else weight[c])"

    def forward(self, x: Array, weight: Array) -> Array:
        return np.where(x > 0, x, _along_channels(weight, x) * x)

    def backward(self, delta: Array, x: Array, weight: Array) -> tuple[Array, Array]:
        steep = _along_channels(weight, x)
        terms = delta * np.where(x > 0, 0, x)
        others = tuple(axis for axis in range(x.ndim) if axis != 1 or weight.size == 1)
        return delta * np.where(x > 0, 1, steep), terms.sum(axis=others, dtype=x.dtype).reshape(weight.shape)

    # --- written out ---------------------------------------------------------------------------------------------------

    def gradients(self, x: Shape, weight: Shape) -> tuple[Gradient, ...]:
        each = prod(x) // max(prod(weight), 1)
        return (Gradient("x", x, "δ where x > 0, δ · weight elsewhere", f"{count(x)} numbers"),
                Gradient("weight", weight, "δ · x where x ≤ 0, summed over the batch and all positions",
                         f"{prod(x)}/{prod(weight)} = {each} values meet each slope"))

    def explain_value(self, at: tuple[int, ...], x: Array, weight: Array) -> Working:
        here, w = float(x[at]), float(np.broadcast_to(_along_channels(weight, x), x.shape)[at])
        if here > 0:
            return Working(self.formula, (Line(f"x = {number(here)} > 0: y = x = {number(here)}", here),))
        y = w * here
        return Working(self.formula, (Line(f"x = {number(here)} ≤ 0: y = weight · x = {number(w)} · {factor(here)} = "
                                           f"{number(y)}", y),))

    def explain_gradient(self, which: int, at: tuple[int, ...], delta: Array, *arrays: Array) -> Working:
        x, weight = arrays
        if which == 0:
            here, w = float(x[at]), float(np.broadcast_to(_along_channels(weight, x), x.shape)[at])
            d, slope = float(delta[at]), 1.0 if here > 0 else w
            lines = (Line(f"dy/dx = {number(slope)} (x = {number(here)} {'> 0' if here > 0 else '≤ 0: the weight'})", slope),
                     Line(f"∂L/∂x = δ · dy/dx = {number(d)} · {factor(slope)} = {number(d * slope)}", d * slope))
            return Working(self.backward_formula, lines, terms(("δ", [at], [d]), ("dy/dx", [at], [slope])))
        met = np.argwhere(x <= 0)
        if weight.size > 1:  # the slope's own channel; the graph may hold weight as (1, C, 1, 1)
            met = met[met[:, 1] == int(np.ravel_multi_index(at, weight.shape))]
        values = tuple(met.T)
        made = terms(("δ", met, delta[values]), ("x", met, x[values]))
        return Working("∂L/∂weight[c] = Σ δ · x over its values x ≤ 0",
                       sum_lines(made, f"∂L/∂weight{at_text(at)}", parts=met[:, 0], part="image"), made)


def _along_channels(weight: Array, x: Array) -> Array:
    """weight so that it meets axis 1 of x; the graph may hold it as (C,) or already as (1, C, 1, 1)."""
    channels = x.shape[1] if x.ndim > 1 else 1
    if weight.size not in (1, channels):
        raise ShapeError(f"{weight.size} slopes for {channels} channels", f"x has the shape {x.shape}",
                         "use one slope, or one a channel")
    return weight.reshape(()) if weight.size == 1 else weight.reshape(1, -1, *(1,) * (x.ndim - 2))
