"""Square root: y = √x, dy/dx = 1/(2·√x).

Source: elementary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from convscope.operators._elementwise import SLOPE, Elementwise
from convscope.operators._operator import Array


@dataclass(frozen=True)
class Sqrt(Elementwise):
    """Which number, times itself, is x?

    Shapes: any, x ≥ 0. Errors: none; the root of a negative number is NaN, as in PyTorch.
    Misleads: at x = 0 the slope is infinite: a norm √(Σ x²) of zeros has NaN for a gradient.

    >>> import numpy as np
    >>> Sqrt().forward(np.array([0.0, 9.0]))
    array([0., 3.])
    """

    aten: ClassVar = ("sqrt",)
    formula: ClassVar = "y = √x"
    backward_formula: ClassVar = SLOPE + "1/(2 · √x)"

    def value(self, x: Array) -> Array:
        with np.errstate(invalid="ignore"):
            return np.sqrt(x)

    def slope(self, x: Array) -> Array:
        with np.errstate(invalid="ignore", divide="ignore"):
            return 1 / (2 * np.sqrt(x))
