"""Operations that move numbers and compute none: every output is a copy of one input, or a constant.

    y[o] = x[source(o)]        ∂L/∂x[i] = Σ_{o: source(o) = i} δ[o]

`source` needs no formula of its own: forward, run on an array that holds 1, 2, 3, …, shows where each number went.
"""

from __future__ import annotations

from math import prod
from typing import Any, ClassVar

import numpy as np

from convscope.operators._lines import require_gradient
from convscope.operators._operator import Operator, Shape
from convscope.operators._working import Working, name_of, number, place, shape_text, sum_lines, taken, terms
from convscope.results import Gradient, Line


class Move(Operator):
    """A leaf writes `forward` and `backward`; how single numbers travel follows from forward alone. Never made by itself."""

    moved: ClassVar[int | None] = None  # how many of its arrays travel, counted from the first; None: all
    back: ClassVar[str] = ""  # how δ travels back, in words

    def gradients(self, *shapes: Shape | None) -> tuple[Gradient, ...]:
        out = shape_text(self.output_shape(*shapes))
        return tuple(Gradient(name_of(self.arrays, i), shape, self.back, self.back_sizes(i, out, *shapes))
                     for i, shape in enumerate(shapes[:self.moved]) if shape is not None)

    def back_sizes(self, which: int, out: str, *shapes: Any) -> str:
        """The sizes of δ's way back to array `which`; `out` is y's size, written."""
        return f"{out} → {shape_text(shapes[which])}"

    def way(self, which: int, at: Shape, here: Shape, *shapes: Shape) -> tuple[Line, ...]:
        """What is worth saying of the way between x[at] of array `which` and y[here]; nothing unless a leaf does."""
        return ()

    def explain_value(self, at: tuple[int, ...], *arrays: Any) -> Working:
        value = float(self.forward(*arrays)[at])
        found = int(self._origins(arrays)[at])
        if found == 0:
            return Working(self.formula, (Line(f"{place('y', at)} was not in x: it is filled with {number(value)}", value),))
        which, start = next((i, s) for i, s in reversed(list(enumerate(self._starts(arrays)))) if s < found)
        source = tuple(int(i) for i in np.unravel_index(found - 1 - start, arrays[which].shape))
        way = self.way(which, source, at, *(a.shape for a in arrays))
        name = name_of(self.arrays, which)
        return Working(self.formula, (*way, Line(f"{place('y', at)} = {place(name, source)} = {number(value)}", value)))

    def explain_gradient(self, which: int, at: tuple[int, ...], delta: Any, *arrays: Any) -> Working:
        require_gradient(self, which, range(len(arrays[:self.moved])))
        name = name_of(self.arrays, which)
        its_number = self._starts(arrays)[which] + int(np.ravel_multi_index(at, arrays[which].shape)) + 1
        places = np.argwhere(self._origins(arrays) == its_number)
        what = f"∂L/∂{place(name, at)}"
        if len(places) == 0:
            return Working(self.backward_formula, (Line(f"{place(name, at)} is not in y: {what} = 0", 0.0),))
        way = self.way(which, at, tuple(map(int, places[0])), *(a.shape for a in arrays))
        values = taken(delta, places)
        made = terms(("δ", places, values), ("copy", places, np.ones(len(places))))
        if len(places) > 1:
            copied = Line(f"{place(name, at)} was copied to {len(places)} places of y", float(len(places)))
            return Working(self.backward_formula, (*way, copied, *sum_lines(made, what)), made)
        line = Line(f"{what} = {place('δ', places[0])} = {number(values[0])}", float(values[0]))
        return Working(self.backward_formula, (*way, line), made)

    def _starts(self, arrays: tuple[Any, ...]) -> list[int]:
        """How many numbers stand in the arrays before each."""
        return [sum(prod(a.shape) for a in arrays[:i]) for i in range(len(arrays[:self.moved]))]

    def _origins(self, arrays: tuple[Any, ...]) -> Any:
        """Which number each output copies, counted from 1 through all arrays; 0 where it is a constant."""
        total = sum(prod(a.shape) for a in arrays[:self.moved])
        starts = self._starts(arrays)
        first = [np.arange(s + 1.0, s + 1.0 + a.size).reshape(a.shape) for s, a in zip(starts, arrays, strict=False)]
        rest = arrays[len(first):]
        there = self.forward(*first, *rest)
        # A constant does not change when all numbers do, whatever it is.
        return np.where(self.forward(*(a + total for a in first), *rest) != there, there, 0).astype(np.int64)
