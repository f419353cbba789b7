"""The arithmetic of a normalisation written out, for all that take μ and σ² over some set of values.

    forward     μ, σ² of the set;  σ = √(σ² + eps);  x̂ = (x − μ)/σ;  y = weight·x̂ + bias
    backward    d = ∂L/∂x̂ = δ·weight, and x moves its own set's μ and σ too:

                ∂L/∂x = d/σ  −  mean(d)/σ  −  x̂·mean(d·x̂)/σ        directly, through μ, through σ
                ∂L/∂x = d/σ                                         where μ and σ are constants (batch norm in evaluation)

Source: Ioffe and Szegedy 2015, section 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Any, ClassVar

import numpy as np

from convscope.operators._lines import at_text, count, factor, require_gradient
from convscope.operators._operator import Array, Operator, Shape
from convscope.operators._standardise import per_channel
from convscope.operators._working import Working, number, plus, sum_lines, terms
from convscope.results import Gradient, Grid, Line

THROUGH = "∂L/∂x = (d − mean(d) − x̂·mean(d·x̂))/σ,  d = δ · weight"


@dataclass(frozen=True)
class Statistics:
    """Which values share a mean and a deviation, and what these are."""

    index: tuple[Any, ...]  # x[index] are the values
    over: str  # 'channel 3 (64 images × 49 positions)'
    mean: float
    variance: float
    eps: float
    computed: bool = True  # from these values; else given from outside, and constant

    @property
    def sigma(self) -> float:
        """√(σ² + eps)."""
        return sqrt(self.variance + self.eps)

    def lines(self, x: Array) -> list[Line]:
        """μ, σ² and σ."""
        n, some = x[self.index].size, x[self.index]
        if self.computed:
            first = [Line(f"μ = mean of the {n} values of {self.over} = {number(some.sum())}/{n} = {number(self.mean)}",
                          self.mean),
                     Line(f"σ² = mean of their (x − μ)² = {number(self.variance * n)}/{n} = {number(self.variance)}",
                          self.variance)]
        else:
            first = [Line(f"μ = running mean of {self.over} = {number(self.mean)}", self.mean),
                     Line(f"σ² = running variance of {self.over} = {number(self.variance)}", self.variance)]
        return [*first, Line(f"σ = √(σ² + eps) = √({number(self.variance)} + {number(self.eps)}) = {number(self.sigma)}",
                             self.sigma)]

    def standardised(self, x: float) -> Line:
        """x̂ of one value."""
        x_hat = (x - self.mean) / self.sigma
        return Line(f"x̂ = (x − μ)/σ = ({number(x)}{plus(-self.mean)})/{number(self.sigma)} = {number(x_hat)}", x_hat)


@dataclass(frozen=True)
class Standardising(Operator):
    """A normalisation, written out. Never made by itself."""

    arrays: ClassVar = ("x", "weight", "bias")
    learned: ClassVar = ("weight", "bias")
    backward_formula: ClassVar = THROUGH

    def statistics_at(self, at: tuple[int, ...], x: Array, *given: Array) -> Statistics:
        """μ and σ² that x[at] meets."""
        raise NotImplementedError

    def shared_size(self, x: Shape) -> tuple[int, ...]:
        """How many values share a mean, axis by axis; () where none do since the statistics are given."""
        raise NotImplementedError

    def remarks(self, at: tuple[int, ...], delta: Array | None, x: Array, *given: Array) -> list[Line]:
        """What else there is to say of y[at], or (delta given) of ∂L/∂x[at]."""
        del at, delta, x, given
        return []

    def meets(self, at: tuple[int, ...]) -> tuple[int, ...]:
        """Index of the weight (and bias) that x[at] meets: that of its channel."""
        return (at[1],)

    def met_by(self, at: tuple[int, ...]) -> tuple[Any, ...]:
        """The values that meet weight[at]."""
        return (slice(None), at[0])

    def spread(self, weight: Array, x: Array) -> Array:
        """weight, so that it meets x."""
        return per_channel(weight, x)

    def gradients(self, x: Shape, *given: Shape | None) -> tuple[Gradient, ...]:
        shared = self.shared_size(x)
        if shared:
            first = Gradient("x", x, "with d = δ·weight: d − mean(d) − x̂·mean(d·x̂), divided by σ; the two means because x "
                             "moves μ and σ as well", f"means over {count(shared)} values")
        else:
            first = Gradient("x", x, "δ·weight/σ: μ and σ are constants", f"{count(x)} products")
        how = ("δ·x̂, summed over the batch and all positions", "δ, summed over the batch and all positions")
        return (first, *(learned_gradient(name, shape, x, text) for name, shape, text in
                         zip(self.learned, given, how, strict=False) if shape is not None))

    def explain_value(self, at: tuple[int, ...], x: Array, *given: Array) -> Working:
        s = self.statistics_at(at, x, *given)
        x_hat = s.standardised(float(x[at]))
        weight, bias = (None if a is None else float(a[self.meets(at)]) for a in (*given, None, None)[:2])
        y = (1.0 if weight is None else weight) * x_hat.value + (0.0 if bias is None else bias)
        letters = ("" if weight is None else "weight · ") + "x̂" + ("" if bias is None else " + bias")
        numbers = number(x_hat.value) if weight is None else f"{number(weight)} · {factor(x_hat.value)}"
        numbers += "" if bias is None else plus(bias)
        text = f"y = {letters} = " + (f"{numbers} = " if weight is not None or bias is not None else "")
        lines = (*s.lines(x), x_hat, *self.remarks(at, None, x, *given), Line(text + number(y), y))
        return Working(self.formula, lines, grids=(_grid(x, at),))

    def explain_gradient(self, which: int, at: tuple[int, ...], delta: Array, *arrays: Array) -> Working:
        x, given = arrays[0], arrays[1:]
        require_gradient(self, which, [0, *(i for i in (1, 2) if len(arrays) > i and arrays[i] is not None)])
        if which:
            plain = (None, None, *given[2:]) if len(given) > 2 else ()
            return learned_working(which, at, self.met_by(at), delta, self.forward(x, *plain))
        s = self.statistics_at(at, x, *given)
        weight = given[0] if given else None
        d, factors = delta[at], None if weight is None else float(weight[self.meets(at)])
        if factors is not None:
            d = d * factors
        d = float(d)
        text = f"d = δ · weight = {number(delta[at])} · {factor(factors)}" if factors is not None else "d = δ"
        lines = [*s.lines(x), Line(f"{text} = {number(d)}", d)]
        made = None
        if s.computed:
            all_d = (delta if weight is None else delta * self.spread(weight, x))[s.index]
            more, made = _through(d, all_d, s, x, at)
            lines += more
        else:
            total = d / s.sigma
            lines += [*self.remarks(at, delta, x, *given),
                      Line(f"∂L/∂x = d/σ = {number(d)}/{number(s.sigma)} = {number(total)} (μ and σ are constants)", total)]
            return Working("∂L/∂x = δ · weight/σ", tuple(lines), grids=(_grid(x, at),))
        last = lines.pop()
        return Working(self.backward_formula, (*lines, *self.remarks(at, delta, x, *given), last), made, (_grid(x, at),))


def _through(d: float, all_d: Array, s: Statistics, x: Array, at: tuple[int, ...]) -> tuple[list[Line], Any]:
    """The three parts of the gradient; the terms are those of mean(d·x̂), before the division by n."""
    x_hat, n = (x[s.index] - s.mean) / s.sigma, all_d.size
    here = s.standardised(float(x[at]))
    level, spread = float(all_d.sum()), float((all_d * x_hat).sum())
    mask = np.zeros(x.shape, bool)
    mask[s.index] = True
    places = np.argwhere(mask)
    made = terms(("d", places, all_d.reshape(-1)), ("x̂", places, x_hat.reshape(-1)))
    parts = d / s.sigma, -level / n / s.sigma, -here.value * (spread / n) / s.sigma
    total = (d - (level / n + here.value * (spread / n))) / s.sigma
    return [
        here,
        Line(f"Σ d over these {n} values = {number(level)}, mean(d) = {number(level / n)}", level / n),
        Line(f"Σ d·x̂ over these {n} values = {number(spread)}", spread),
        Line(f"mean(d·x̂) = {number(spread)}/{n} = {number(spread / n)}", spread / n),
        Line(f"directly: d/σ = {number(d)}/{number(s.sigma)} = {number(parts[0])}", parts[0]),
        Line(f"through μ: −mean(d)/σ = {number(parts[1])}", parts[1]),
        Line(f"through σ: −x̂·mean(d·x̂)/σ = −{factor(here.value)}·{factor(spread / n)}/{number(s.sigma)} = "
             f"{number(parts[2])}", parts[2]),
        Line(f"∂L/∂x = {number(parts[0])}{plus(parts[1])}{plus(parts[2])} = {number(total)}", total),
    ], made


def learned_working(which: int, at: tuple[int, ...], met: tuple[Any, ...], delta: Array, x_hat: Array) -> Working:
    """∂L/∂weight[at] = Σ δ·x̂ (which 1) or ∂L/∂bias[at] = Σ δ (which 2), over the values `met` by it."""
    mask = np.zeros(delta.shape, bool)
    mask[met] = True
    places = np.argwhere(mask)
    right = ("x̂", places, x_hat[mask]) if which == 1 else ("1", places, np.ones(len(places)))
    made = terms(("δ", places, delta[mask]), right)
    what = f"∂L/∂{('weight', 'bias')[which - 1]}{at_text(at)}"
    lines = sum_lines(made, what, parts=places[:, 0] if delta.ndim > len(at) else None, part="image")
    return Working(f"∂L/∂{('weight = Σ δ · x̂', 'bias = Σ δ')[which - 1]}, over all values that it meets", lines, made)


def learned_gradient(name: str, shape: Shape, x: Shape, how: str) -> Gradient:
    """The gradient of a weight or bias of a normalisation, with the length of its sums."""
    total, each = int(np.prod(x)), int(np.prod(shape))
    return Gradient(name, shape, how, f"{total}/{each} = {total // max(each, 1)} terms each")


def _grid(x: Array, at: tuple[int, ...]) -> Grid:
    """The map (or row) that the number lies in."""
    rank = min(2, x.ndim)
    return Grid(f"x{at_text(at[:-rank])}", x[at[:-rank]], marked=(at[-rank:],))
