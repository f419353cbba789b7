"""Root mean square normalisation: layer normalisation without the mean.

    y = weight · x/r,  r = √(mean(x²) + eps)        mean over the last len(normalized_shape) axes

With x̂ = x/r and d = ∂L/∂x̂ = δ · weight:   ∂L/∂x = (d − x̂·mean(d·x̂))/r

Source: Zhang and Sennrich 2019, "Root Mean Square Layer Normalization".
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import ClassVar

import numpy as np

from convscope.errors import ShapeError
from convscope.geometry import WHOLE, Window
from convscope.operators._lines import at_text, count, factor, require_gradient
from convscope.operators._operator import Array, Operator, Shape
from convscope.operators._standardise_terms import learned_gradient, learned_working
from convscope.operators._working import Working, number, plus, terms
from convscope.results import Gradient, Grid, Line


@dataclass(frozen=True)
class RMSNorm(Operator):
    """How large is each value against the typical size of its own example's values?

    Shapes: x and y (…, *normalized_shape); weight (*normalized_shape) or None. No MACs by our definition. `eps` None is the
    smallest step above 1 of x's floating type, as in PyTorch. Raises ShapeError where the shapes do not fit.
    Misleads: a shift common to all values stays in y. Source: Zhang and Sennrich 2019.

    >>> import numpy as np
    >>> RMSNorm((2,), eps=0.0).forward(np.array([[1.0, 7.0]]))
    array([[0.2, 1.4]])
    """

    normalized_shape: tuple[int, ...]
    eps: float | None = None

    aten: ClassVar = ("rms_norm",)
    arrays: ClassVar = ("x", "weight")
    learned: ClassVar = ("weight",)
    formula: ClassVar = "y = weight · x/√(mean(x²) + eps), over the last axes of each example"
    backward_formula: ClassVar = "∂L/∂x = (d − x̂·mean(d·x̂))/r,  d = δ · weight,  x̂ = x/r"

    def windows(self, x: Shape, *_: Shape | None) -> tuple[Window | str, ...]:
        first = len(x) - len(self.normalized_shape)
        return tuple(WHOLE if axis >= first else Window() for axis in range(2, len(x)))

    def forward(self, x: Array, weight: Array = None) -> Array:
        y = x / self._size(x, weight)
        return y if weight is None else y * weight

    def backward(self, delta: Array, x: Array, *weight: Array) -> tuple[Array, ...]:
        r = self._size(x, *weight)
        x_hat, axes = x / r, self._axes(x)
        d = delta * weight[0] if weight and weight[0] is not None else delta
        grad = (d - x_hat * (d * x_hat).mean(axis=axes, keepdims=True)) / r
        before = tuple(range(x.ndim - len(axes)))
        return (grad, *(None if w is None else (delta * x_hat).sum(axis=before) for w in weight))

    # --- written out ---------------------------------------------------------------------------------------------------

    def gradients(self, x: Shape, weight: Shape | None = None) -> tuple[Gradient, ...]:
        first = Gradient("x", x, "with d = δ·weight and x̂ = x/r: d − x̂·mean(d·x̂), divided by r; the mean because x moves r "
                         "as well", f"means over {count(self.normalized_shape)} values")
        how = "δ·x̂, summed over the batch and all positions"
        return (first,) if weight is None else (first, learned_gradient("weight", weight, x, how))

    def explain_value(self, at: tuple[int, ...], x: Array, weight: Array = None) -> Working:
        lines, r, row = self._root(at, x, weight)
        x_hat = float(x[at]) / r
        lines.append(Line(f"x̂ = x/r = {number(x[at])}/{number(r)} = {number(x_hat)}", x_hat))
        if weight is None:
            lines.append(Line(f"y = x̂ = {number(x_hat)}", x_hat))
        else:
            w = float(weight[at[x.ndim - weight.ndim:]])
            lines.append(Line(f"y = weight · x̂ = {number(w)} · {factor(x_hat)} = {number(w * x_hat)}", w * x_hat))
        return Working(self.formula, tuple(lines), grids=(row,))

    def explain_gradient(self, which: int, at: tuple[int, ...], delta: Array, *arrays: Array) -> Working:
        x: Array = arrays[0]
        weight: Array = arrays[1] if len(arrays) > 1 else None
        require_gradient(self, which, [0] if weight is None else [0, 1])
        if which:
            return learned_working(1, at, (..., *at), delta, x / self._size(x, weight))
        lines, r, row = self._root(at, x, weight)
        before = at[:x.ndim - len(self.normalized_shape)]
        all_d = delta[before] if weight is None else delta[before] * weight
        x_hat, n = x[before] / r, all_d.size
        d, here, total = float(all_d[at[len(before):]]), float(x_hat[at[len(before):]]), float((all_d * x_hat).sum())
        inner = np.argwhere(np.ones(all_d.shape, bool))
        places = np.concatenate([np.broadcast_to(np.array(before, np.int64), (n, len(before))), inner], axis=1)
        value = (d - here * (total / n)) / r
        lines += [
            Line(f"d = δ{'' if weight is None else ' · weight'} = {number(d)}", d),
            Line(f"x̂ = x/r = {number(x[at])}/{number(r)} = {number(here)}", here),
            Line(f"Σ d·x̂ over these {n} values = {number(total)}", total),
            Line(f"mean(d·x̂) = {number(total)}/{n} = {number(total / n)}", total / n),
            Line(f"∂L/∂x = (d − x̂·mean(d·x̂))/r = ({number(d)}{plus(-here * (total / n))})/{number(r)} = {number(value)}",
                 value),
        ]
        made = terms(("d", places, all_d.reshape(-1)), ("x̂", places, x_hat.reshape(-1)))
        return Working(self.backward_formula, tuple(lines), made, (row,))

    def _root(self, at: tuple[int, ...], x: Array, weight: Array) -> tuple[list[Line], float, Grid]:
        self._size(x, weight)  # complains where the shapes do not fit
        before = at[:x.ndim - len(self.normalized_shape)]
        some, eps = x[before], self._eps(x)
        mean = float((some * some).mean())
        r = sqrt(mean + eps)
        return [Line(f"mean(x²) of the {some.size} values of x{at_text(before)} = {number(mean)}", mean),
                Line(f"r = √(mean(x²) + eps) = √({number(mean)} + {number(eps)}) = {number(r)}", r)], r, Grid(
                    f"x{at_text(before)}", some, marked=(at[len(before):],))

    # --- how it is laid out --------------------------------------------------------------------------------------------

    def _eps(self, x: Array) -> float:
        return float(np.finfo(x.dtype).eps) if self.eps is None else self.eps

    def _size(self, x: Array, weight: Array = None) -> Array:
        """r, with the axes of the mean kept."""
        axes = self._axes(x)
        if weight is not None and weight.shape != tuple(self.normalized_shape):
            raise ShapeError(f"a weight of shape {weight.shape} in an RMS norm over {tuple(self.normalized_shape)}", "",
                             "it must have that shape")
        return np.sqrt((x * x).mean(axis=axes, keepdims=True) + np.asarray(self._eps(x), x.dtype))

    def _axes(self, x: Array) -> tuple[int, ...]:
        rank, wanted = len(self.normalized_shape), tuple(self.normalized_shape)
        if not rank or x.shape[-rank:] != wanted:
            raise ShapeError(f"cannot normalise over the last axes {wanted}", f"x has the shape {x.shape}",
                             "normalized_shape must be the end of x's shape")
        return tuple(range(x.ndim - rank, x.ndim))
