"""Reductions: mean, sum or maximum over whole axes (over the map: global pooling).

    mean: y = 1/n · Σ x        sum: y = Σ x        amax: y = max x

Source: Lin, Chen, Yan 2013, "Network In Network" (global average pooling in place of dense layers).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any, ClassVar

import numpy as np

from convscope.geometry import WHOLE, Window
from convscope.operators._operator import Operator, Shape
from convscope.operators._working import Working, many, number, place, taken, terms
from convscope.results import Gradient, Line


@dataclass(frozen=True)
class GlobalPool(Operator):
    """What is the mean, sum or maximum over whole axes?

    Shapes: x any; y as x with the axes `dim` gone, or of size 1 with `keepdim`; `dim` None or empty means all axes.
    Units: no parameters, no macs. windows, per spatial axis of x: WHOLE where it is reduced, position by position elsewhere.
    Backward: mean and sum spread delta over what was reduced; amax shares it equally among equal maxima (as PyTorch's amax).
    Misleads: a mean over a map forgets where something was. Source: Lin et al. 2013.

    >>> GlobalPool("mean", (2, 3)).output_shape((1, 2048, 7, 7)), GlobalPool("mean", (2, 3)).windows((1, 2048, 7, 7))
    ((1, 2048), ('whole', 'whole'))
    """

    kind: str = "mean"
    dim: int | tuple[int, ...] | None = None
    keepdim: bool = False

    aten: ClassVar = ("mean", "sum", "amax")
    formula: ClassVar = "y = mean (or Σ, or max) of x over the axes dim"
    backward_formula: ClassVar = "∂L/∂x = δ/n (mean), δ (sum), δ shared by the largest (amax)"

    @classmethod
    def read(cls, name: str, settings: dict[str, Any], shapes: tuple[Shape, ...]) -> Operator:
        """The ATen name is the kind."""
        return super().read(name, {**settings, "kind": name}, shapes)

    def output_shape(self, x: Shape) -> Shape:
        axes = self._axes(len(x))
        return tuple(1 if a in axes else n for a, n in enumerate(x) if self.keepdim or a not in axes)

    def windows(self, x: Shape) -> tuple[Window | str, ...]:
        axes = self._axes(len(x))
        return tuple(WHOLE if a in axes else Window() for a in range(2, len(x)))

    def forward(self, x: Any) -> Any:
        reduce = {"mean": np.mean, "sum": np.sum, "amax": np.max}[self.kind]
        return np.asarray(reduce(x, axis=self._axes(x.ndim), keepdims=self.keepdim))

    def backward(self, delta: Any, x: Any) -> tuple[Any, ...]:
        axes = self._axes(x.ndim)
        spread = np.broadcast_to(np.expand_dims(delta, axes) if not self.keepdim else delta, x.shape)
        if self.kind == "amax":
            top = x == x.max(axis=axes, keepdims=True)
            return (spread * top / top.sum(axis=axes, keepdims=True).astype(delta.dtype),)
        return (spread / prod(x.shape[a] for a in axes) if self.kind == "mean" else spread.copy(),)

    # --- written out ---------------------------------------------------------------------------------------------------

    def gradients(self, x: Shape) -> tuple[Gradient, ...]:
        over = [x[a] for a in self._axes(len(x))]
        n, counts = prod(over), "·".join(map(str, over)) or "1"
        how, sizes = {
            "mean": ("δ divided by n, the same for all numbers that were averaged", f"n = {counts} = {n}: each gets δ/{n}"),
            "sum": ("δ, the same for all numbers that were added", f"{counts} = {n} numbers get δ each"),
            "amax": ("δ goes to the largest number, in equal shares where several are", f"1 of {counts} = {n} numbers"),
        }[self.kind]
        return (Gradient("x", x, how, sizes),)

    def explain_value(self, at: tuple[int, ...], x: Any) -> Working:
        places, values = self._read(at, x)
        n = len(values)
        if self.kind == "amax":
            value = float(values.max())
            equal = int((values == value).sum())
            first = place("x", places[int((values == value).argmax())])
            tie = f" ({equal} are equally large)" if equal > 1 else ""
            return Working(self.formula, (Line(many(n, "number"), float(n)),
                                          Line(f"y = the largest = {first} = {number(value)}{tie}", value)))
        factor = 1 / n if self.kind == "mean" else 1.0
        made = terms(("x", places, values), ("1/n" if self.kind == "mean" else "1", places, np.full(n, factor)))
        total, value = float(values.sum()), float(made.products.sum())
        lines = [Line(f"Σ of {many(n, 'number')} = {number(total)}", total)]
        if self.kind == "mean":
            lines.append(Line(f"y = {number(total)} / {n} = {number(value)}", value))
        return Working(self.formula, tuple(lines), made)

    def explain_gradient(self, which: int, at: tuple[int, ...], delta: Any, x: Any) -> Working:
        axes = self._axes(x.ndim)
        here = tuple(0 if a in axes else i for a, i in enumerate(at) if self.keepdim or a not in axes)
        _, values = self._read(here, x)
        d, what = float(delta[here]), f"∂L/∂{place('x', at)}"
        if self.kind == "mean":
            factor, why = 1 / len(values), f"{place('δ', here)} / {len(values)} = {number(d)} / {len(values)}"
        elif self.kind == "sum":
            factor, why = 1.0, f"{place('δ', here)}"
        elif x[at] != values.max():
            return Working(self.backward_formula, (Line(f"{place('x', at)} = {number(x[at])} is not the largest: {what} = 0",
                                                        0.0),))
        else:
            equal = int((values == values.max()).sum())
            factor, why = 1 / equal, f"{place('δ', here)}" + (f" / {equal} (shared by {equal} largest)" if equal > 1 else "")
        made = terms(("δ", [here], [d]), ("factor", [at], [factor]))
        value = float(made.products[0])
        return Working(self.backward_formula, (Line(f"{what} = {why} = {number(value)}", value),), made)

    def _read(self, at: tuple[int, ...], x: Any) -> tuple[Any, Any]:
        """Places (n, axes) and numbers (n,) of x that y[at] is made of."""
        axes, kept = self._axes(x.ndim), iter(at)
        index = []
        for a, n in enumerate(x.shape):
            i = 0 if a in axes and not self.keepdim else next(kept)
            index.append(range(n) if a in axes else (i,))
        found = list(product(*index))
        places = np.array(found, np.int64).reshape(len(found), x.ndim)
        return places, taken(x, places)

    def _axes(self, rank: int) -> tuple[int, ...]:
        if self.dim is None or self.dim == ():
            return tuple(range(rank))
        return tuple(sorted(d % rank for d in ((self.dim,) if isinstance(self.dim, int) else self.dim)))
