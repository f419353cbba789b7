"""The logistic function: any number becomes a probability.

    y = 1/(1 + e^−x)        dy/dx = y·(1 − y)

Source: Verhulst 1838; as a unit of a network Rumelhart, Hinton, Williams 1986.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from convscope.operators._elementwise import SLOPE, Elementwise, logistic
from convscope.operators._operator import Array


@dataclass(frozen=True)
class Sigmoid(Elementwise):
    """How probable is yes, if x is the logarithm of the odds?

    Shapes: any. y lies in 0 … 1. The slope is at most 1/4, at x = 0.
    Misleads: for |x| > 10 the slope is below 5e-5, so a saturated unit hardly learns.

    >>> import numpy as np
    >>> Sigmoid().forward(np.array([-1000.0, 0.0, 1.0])).round(4)
    array([0.    , 0.5   , 0.7311])
    """

    aten: ClassVar = ("sigmoid",)
    formula: ClassVar = "y = 1/(1 + e^−x)"
    backward_formula: ClassVar = SLOPE + "σ(x) · (1 − σ(x))"

    def value(self, x: Array) -> Array:
        return logistic(x)

    def slope(self, x: Array) -> Array:
        return logistic(x) * logistic(-x)  # 1 − σ(x) = σ(−x), which keeps its digits for large x
