"""The exponential function, the one that is its own slope: y = e^x, dy/dx = e^x.

Source: Euler 1748.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from convscope.operators._elementwise import SLOPE, Elementwise
from convscope.operators._operator import Array


@dataclass(frozen=True)
class Exp(Elementwise):
    """Which factor does the sum x stand for?

    Shapes: any; y > 0. Errors: none; beyond x = 709 (float32: 88) y is infinite, as in PyTorch.

    >>> import numpy as np
    >>> Exp().forward(np.array([0.0, 1.0])).round(4)
    array([1.    , 2.7183])
    """

    aten: ClassVar = ("exp",)
    formula: ClassVar = "y = e^x"
    backward_formula: ClassVar = SLOPE + "e^x"

    def value(self, x: Array) -> Array:
        with np.errstate(over="ignore"):
            return np.exp(x)

    def slope(self, x: Array) -> Array:
        return self.value(x)
