"""Element by element on two operands, of which the second is an array or a plain number."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

import numpy as np

from convscope.errors import UsageError
from convscope.geometry import Window
from convscope.operators._broadcast import broadcast_shape, copies_of, source_of, summed_to
from convscope.operators._lines import factor, filled
from convscope.operators._operator import Operator, Shape
from convscope.operators._working import Working, number, place, shape_text, sum_lines, taken, terms
from convscope.results import Gradient, Line


@dataclass(frozen=True)
class Pair(Operator):
    """x and `other`: given as a second array, or as the field `other` where it is a plain number.

    A leaf writes `_value` and `_slopes`; broadcasting, and summing back what was broadcast, is done here.
    """

    other: float | None = None

    arrays: ClassVar = ("x", "other")
    slopes: ClassVar[tuple[str, str]] = ("", "")  # ∂y/∂x and ∂y/∂other, in letters
    back: ClassVar[tuple[str, str]] = ("", "")  # how each operand gets its gradient, in words

    def output_shape(self, x: Shape, other: Shape | None = None) -> Shape:
        return x if other is None else broadcast_shape(x, other)

    def windows(self, x: Shape, other: Shape | None = None) -> tuple[Window | str, ...]:
        return (Window(),) * max(len(self.output_shape(x, other)) - 2, 0)

    def forward(self, x: Any, other: Any = None) -> Any:
        second = self._second(other)
        self.output_shape(x.shape, None if other is None else other.shape)
        return self._value(x, second)

    def backward(self, delta: Any, x: Any, *other: Any) -> tuple[Any, ...]:
        to_x, to_other = self._slopes(delta, x, self._second(other[0] if other else None))
        return (summed_to(to_x, x.shape), *(None if o is None else summed_to(to_other, o.shape) for o in other))

    # --- written out ---------------------------------------------------------------------------------------------------

    def gradients(self, x: Shape, other: Shape | None = None) -> tuple[Gradient, ...]:
        out = self.output_shape(x, other)
        return tuple(Gradient(name, shape, how + ("" if shape == out else "; summed over what was broadcast"),
                              f"{shape_text(out)} → {shape_text(shape)}" + _repeats(shape, out))
                     for name, shape, how in zip(self.arrays, (x, other), self.back, strict=True) if shape is not None)

    def explain_value(self, at: tuple[int, ...], x: Any, other: Any = None) -> Working:
        second = np.asarray(self._second(other))
        out = self.output_shape(x.shape, None if other is None else other.shape)
        sources = [tuple(map(int, source_of(at, a.shape))) for a in (x, second)]
        left, right = float(x[sources[0]]), float(second[sources[1]])
        named = ((self.arrays[0], x, sources[0]), (self.arrays[1], second, sources[1]))
        lines = [Line(f"{place(name, source)} = {number(a[source])} is used at {prod(out) // a.size} places of y",
                      float(a[source])) for name, a, source in named if a.size < prod(out) and a.ndim]
        value = float(self._value(x[sources[0]], second[sources[1]]))
        lines.append(Line(f"y = {self._written(left, right)} = {number(value)}", value))
        return Working(self.formula, tuple(lines))

    def explain_gradient(self, which: int, at: tuple[int, ...], delta: Any, x: Any, *other: Any) -> Working:
        second = np.asarray(self._second(other[0] if other else None))
        places = copies_of(at, (x, second)[which].shape, delta.shape)
        left, right = taken(x, source_of(places, x.shape)), taken(second, source_of(places, second.shape))
        factors = np.broadcast_to(self._slopes(np.ones(len(places)), left, right)[which], len(places))
        values, what = taken(delta, places), f"∂L/∂{place(self.arrays[which], at)}"
        made = terms(("δ", places, values), (self.slopes[which], places, factors))
        if len(places) != 1:
            used = Line(f"{place(self.arrays[which], at)} was used at {len(places)} places: their shares add up",
                        float(len(places)))
            return Working(self.backward_formula, (used, *sum_lines(made, what)), made)
        d, value = float(values[0]), float(made.products[0])
        if factors[0] == 1:
            line = Line(f"{what} = {place('δ', places[0])} = {number(d)}: handed on unchanged", value)
        else:
            numbers = f"{number(d)} · {factor(float(factors[0]))} = {number(value)}"
            slope = f"({self.slopes[which]})" if self.slopes[which].startswith("−") else self.slopes[which]
            line = Line(f"{what} = δ · {slope} = {numbers}", value)
        return Working(self.backward_formula, (line,), made)

    def _written(self, x: float, other: float) -> str:
        """The formula with two numbers for its letters."""
        return filled(self.formula.removeprefix("y = "), {"x": x, "other": other})

    def _second(self, other: Any) -> Any:
        if other is None and self.other is None:
            raise UsageError(f"{type(self).__name__} needs a second operand", "neither an array nor a number was given",
                             "pass an array or set other=")
        return self.other if other is None else other

    def _value(self, x: Any, other: Any) -> Any:
        raise NotImplementedError

    def _slopes(self, delta: Any, x: Any, other: Any) -> tuple[Any, Any]:
        """delta times dy/dx and times dy/dother, of the output's shape."""
        raise NotImplementedError


def _repeats(shape: Shape, out: Shape) -> str:
    """': 196 numbers each', where an operand was broadcast."""
    return "" if shape == out or not prod(shape) else f": {prod(out) // prod(shape)} numbers each"
