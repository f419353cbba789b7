"""Hyperbolic tangent: any number becomes one between −1 and 1.

    y = (e^x − e^−x)/(e^x + e^−x)        dy/dx = 1 − y²

Source: LeCun et al. 1998, "Efficient BackProp", section 4.4, on why a symmetric unit learns faster than the logistic one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from convscope.operators._elementwise import SLOPE, Elementwise
from convscope.operators._operator import Array


@dataclass(frozen=True)
class Tanh(Elementwise):
    """For or against, between −1 and 1?

    Shapes: any. The slope is at most 1, at x = 0.
    Misleads: for |x| > 5 the slope is below 2e-4, so a saturated unit hardly learns.

    >>> import numpy as np
    >>> Tanh().forward(np.array([-1.0, 0.0, 1.0])).round(4)
    array([-0.7616,  0.    ,  0.7616])
    """

    aten: ClassVar = ("tanh",)
    formula: ClassVar = "y = tanh(x)"
    backward_formula: ClassVar = SLOPE + "1 − tanh(x)²"

    def value(self, x: Array) -> Array:
        return np.tanh(x)

    def slope(self, x: Array) -> Array:
        return 1 - np.tanh(x) ** 2
