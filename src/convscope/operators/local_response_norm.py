"""Local response normalisation: a channel is damped where its neighbouring channels are active.

    y[c] = x[c] / D[c]^beta        D[c] = k + (alpha/size) · Σ_j x[j]²,  j = c − ⌊size/2⌋ … c + ⌊(size − 1)/2⌋

Channels beyond the ends count as 0. Krizhevsky et al. 2012 write alpha where we write alpha/size, as PyTorch does: their
alpha = 1e-4 with 5 channels is alpha = 5e-4 here, and their k is 2.

Source: Krizhevsky, Sutskever, Hinton 2012, "ImageNet Classification with Deep Convolutional Neural Networks", section 3.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from convscope.errors import ShapeError, UsageError
from convscope.operators._lines import factor
from convscope.operators._operator import Array, Operator, Shape
from convscope.operators._working import Working, number, place, taken, terms
from convscope.results import Gradient, Line


@dataclass(frozen=True)
class LocalResponseNorm(Operator):
    """How strong is a channel compared with its neighbours at the same position?

    Shapes: x and y (B, C, H, W), any number of spatial axes. No MACs by our definition, nothing learned.
    Raises ShapeError without a spatial axis, UsageError for an empty window.
    Misleads: neighbouring channels have no meaning of their own; training makes it.

    >>> import numpy as np
    >>> LocalResponseNorm(size=1, alpha=1.0, beta=0.5).forward(np.full((1, 1, 1), 2.0)).round(4)  # 2/√(1 + 4)
    array([[[0.8944]]])
    """

    size: int
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0

    aten: ClassVar = ()  # an exported graph holds its parts: mul, pad, avg_pool3d (avg_pool2d for 3 axes), add, pow, div
    formula: ClassVar = "y[c] = x[c] / (k + alpha/size · Σ_{j near c} x[j]²)^beta"
    backward_formula: ClassVar = "∂L/∂x[c] = δ[c]·D[c]^−beta − 2·alpha·beta/size · x[c] · Σ_j δ[j]·x[j]·D[j]^(−beta−1)"

    def forward(self, x: Array) -> Array:
        return x * self._denominator(x) ** -self.beta

    def backward(self, delta: Array, x: Array) -> tuple[Array]:
        """∂L/∂x[c] = δ[c]·D[c]^−beta − 2·alpha·beta/size · x[c] · Σ_{j whose window holds c} δ[j]·x[j]·D[j]^(−beta − 1)."""
        d = self._denominator(x)
        heard = self._sum(delta * x * d ** (-self.beta - 1), before=(self.size - 1) // 2, after=self.size // 2)
        return (delta * d**-self.beta - (2 * self.alpha * self.beta / self.size) * x * heard,)

    # --- written out ---------------------------------------------------------------------------------------------------

    def gradients(self, x: Shape) -> tuple[Gradient, ...]:
        how = "δ·D^−beta of the channel itself, less what it damped in the channels whose window holds it"
        return (Gradient("x", x, how, f"{self.size} channels a window, 1 + {self.size} parts a number"),)

    def explain_value(self, at: tuple[int, ...], x: Array) -> Working:
        channels, values = self._window(at, x, self.size // 2, (self.size - 1) // 2)
        span = f"{channels[0, 1]} … {channels[-1, 1]}"
        made = terms(("x", channels, values), ("x", channels, values))
        total = float(made.products.sum())
        d = self.k + self.alpha / self.size * total
        value = float(x[at]) * d**-self.beta
        lines = (Line(f"Σ of the squares of {len(values)} channels ({span}) = {number(total)}", total),
                 Line(f"D = k + alpha/size · Σ = {number(self.k)} + {number(self.alpha)}/{self.size} · {number(total)} "
                      f"= {number(d)}", d),
                 Line(f"y = x / D^beta = {number(x[at])} / {number(d)}^{number(self.beta)} = {number(value)}", value))
        return Working(self.formula, lines, made)

    def explain_gradient(self, which: int, at: tuple[int, ...], delta: Array, x: Array) -> Working:
        here = (slice(at[0], at[0] + 1), slice(None), *(slice(i, i + 1) for i in at[2:]))  # all channels of the position
        d = np.broadcast_to(self._denominator(x[here]), x[here].shape).reshape(-1)
        channels, deltas = self._window(at, delta, (self.size - 1) // 2, self.size // 2)
        heard = channels[:, 1]
        factors = taken(x, channels) * d[heard] ** (-self.beta - 1)
        made = terms(("δ", channels, deltas), ("x·D^(−beta−1)", channels, factors))
        own, mine, total = float(d[at[1]]), float(delta[at]), float(made.products.sum())
        direct, scale = mine * own**-self.beta, 2 * self.alpha * self.beta / self.size
        value = direct - scale * float(x[at]) * total
        power = f"{number(mine)} · {number(own)}^{number(-self.beta)}"
        span = f"{heard[0]} … {heard[-1]}"
        lines = (Line(f"its own way: δ·D^−beta = {power} = {number(direct)}", direct),
                 Line(f"Σ over {len(heard)} channels ({span}) whose window holds it = {number(total)}", total),
                 Line(f"∂L/∂{place('x', at)} = {number(direct)} − 2·alpha·beta/size · x · Σ = {number(direct)} − "
                      f"{number(scale)} · {factor(float(x[at]))} · {factor(total)} = {number(value)}", value))
        return Working(self.backward_formula, lines, made)

    def _window(self, at: tuple[int, ...], values: Array, before: int, after: int) -> tuple[Array, Array]:
        """Places (n, axes) and numbers (n,) of the channels around one, at its position."""
        channels = range(max(at[1] - before, 0), min(at[1] + after + 1, values.shape[1]))
        places = np.array([(at[0], j, *at[2:]) for j in channels], np.int64)
        return places, taken(values, places)

    def _denominator(self, x: Array) -> Array:
        if x.ndim < 3:
            raise ShapeError(f"local response normalisation of an input of shape {x.shape}", "there is no spatial axis",
                             "use (B, C, H, W)")
        if self.size < 1:
            raise UsageError(f"a window of {self.size} channels", "", "size must be at least 1")
        return self.k + (self.alpha / self.size) * self._sum(x * x, before=self.size // 2, after=(self.size - 1) // 2)

    def _sum(self, values: Array, before: int, after: int) -> Array:
        """Sums over `before` channels before to `after` channels after each."""
        ends = [(0, 0), (before, after), *[(0, 0)] * (values.ndim - 2)]
        return sliding_window_view(np.pad(values, ends), self.size, axis=1).sum(axis=-1)
