"""The straight-line twin of the logistic function: a ramp from 0 at x = −3 to 1 at x = 3.

Source: Courbariaux, Bengio, David 2015 ("BinaryConnect"), with the slope 1/6 of Howard et al. 2019 (MobileNetV3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from convscope.operators._elementwise import SLOPE, Elementwise
from convscope.operators._operator import Array


@dataclass(frozen=True)
class Hardsigmoid(Elementwise):
    """Yes or no, in between 0 and 1, by a straight line?

    Shapes: any. Slope 1/6 strictly between −3 and 3, else 0; at both kinks it is 0.

    >>> import numpy as np
    >>> Hardsigmoid().forward(np.array([-4.0, 0.0, 1.5]))
    array([0.  , 0.5 , 0.75])
    """

    aten: ClassVar = ("hardsigmoid",)
    formula: ClassVar = "y = min(max(x + 3, 0), 6)/6"
    backward_formula: ClassVar = SLOPE + "1/6 if −3 < x < 3 else 0"

    def value(self, x: Array) -> Array:
        return np.clip(x + 3, 0, 6) / 6

    def slope(self, x: Array) -> Array:
        return ((x > -3) & (x < 3)) / 6
