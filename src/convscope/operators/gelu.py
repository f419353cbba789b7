"""Gaussian error linear unit: x, times the share of a normal distribution that lies below x.

    y = x · Φ(x),  Φ(x) = (1 + erf(x/√2))/2        dy/dx = Φ(x) + x·φ(x),  φ(x) = e^(−x²/2)/√(2π)
    tanh form:     y = x/2 · (1 + tanh(√(2/π)·(x + 0.044715·x³)))

Source: Hendrycks and Gimpel 2016, "Gaussian Error Linear Units".
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi, sqrt
from typing import ClassVar

import numpy as np
from scipy.special import erf

from convscope.errors import UsageError
from convscope.operators._elementwise import SLOPE, Elementwise
from convscope.operators._operator import Array

_CUBIC = 0.044715  # the paper's coefficient


@dataclass(frozen=True)
class GELU(Elementwise):
    """How much evidence is there, weighted by how unusual so much would be?

    Shapes: any. Smooth everywhere, but not monotone: its lowest value is −0.17 at x = −0.75.
    `approximate` is 'none' (the error function) or 'tanh'; the two differ by up to 5e-4. Raises UsageError for other words.

    >>> import numpy as np
    >>> GELU().forward(np.array([-1.0, 0.0, 1.0])).round(4)
    array([-0.1587,  0.    ,  0.8413])
    """

    approximate: str = "none"

    aten: ClassVar = ("gelu",)
    formula: ClassVar = "y = x · (1 + erf(x/√2))/2"
    backward_formula: ClassVar = SLOPE + "Φ(x) + x · φ(x)"

    def __post_init__(self) -> None:
        if self.approximate not in ("none", "tanh"):
            raise UsageError(f"no GELU named {self.approximate!r}", "", "approximate must be 'none' or 'tanh'")

    def texts(self) -> tuple[str, str]:
        if self.approximate == "none":
            return super().texts()
        share = f"(1 + tanh(√(2/π) · (x + {_CUBIC}·x³)))/2"
        return f"y = x · {share}", f"s + x · s · (1 − s) · 2·√(2/π) · (1 + {3 * _CUBIC:g}·x²),  s = {share}"

    def value(self, x: Array) -> Array:
        return x * self._share(x)

    def slope(self, x: Array) -> Array:
        if self.approximate == "none":
            return self._share(x) + x * np.exp(-x * x / 2) / sqrt(2 * pi)
        share = self._share(x)
        steep = 2 * sqrt(2 / pi) * (1 + 3 * _CUBIC * x * x)
        return share + x * share * (1 - share) * steep

    def _share(self, x: Array) -> Array:
        if self.approximate == "none":
            return (1 + erf(x / sqrt(2))) / 2
        return (1 + np.tanh(sqrt(2 / pi) * (x + _CUBIC * x * x * x))) / 2
