"""Leaky rectified linear unit: y = x for x > 0, negative_slope · x below.

Source: Maas, Hannun, Ng 2013, "Rectifier Nonlinearities Improve Neural Network Acoustic Models".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from convscope.operators._elementwise import SLOPE, Elementwise
from convscope.operators._operator import Array


@dataclass(frozen=True)
class LeakyReLU(Elementwise):
    """How much evidence is there, with a faint voice for the contrary?

    Shapes: any. Slope 1 where x > 0, else negative_slope; at the kink x = 0 it is negative_slope.

    >>> import numpy as np
    >>> LeakyReLU(0.1).forward(np.array([-1.0, 0.0, 2.0]))
    array([-0.1,  0. ,  2. ])
    """

    negative_slope: float = 0.01

    aten: ClassVar = ("leaky_relu",)
    formula: ClassVar = "y = x if x > 0 else negative_slope · x"
    backward_formula: ClassVar = SLOPE + "1 if x > 0 else negative_slope"

    def value(self, x: Array) -> Array:
        return np.where(x > 0, x, self.negative_slope * x)

    def slope(self, x: Array) -> Array:
        return np.where(x > 0, 1, self.negative_slope)
