"""The straight-line twin of swish: y = x · hardsigmoid(x), cheap on small devices.

Source: Howard et al. 2019, "Searching for MobileNetV3".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from convscope.operators._elementwise import SLOPE, Elementwise
from convscope.operators._operator import Array


@dataclass(frozen=True)
class Hardswish(Elementwise):
    """How much evidence is there, let through by a straight ramp from x = −3 to x = 3?

    Shapes: any. Slope 0 below −3, x/3 + 1/2 between, 1 above 3; at the kink x = −3 it is 0, at x = 3 it is 1.

    >>> import numpy as np
    >>> Hardswish().forward(np.array([-4.0, -1.5, 0.0, 3.0]))
    array([-0.   , -0.375,  0.   ,  3.   ])
    """

    aten: ClassVar = ("hardswish",)
    formula: ClassVar = "y = x · min(max(x + 3, 0), 6)/6"
    backward_formula: ClassVar = SLOPE + "0 if x ≤ −3, x/3 + 1/2 if −3 < x < 3, else 1"

    def value(self, x: Array) -> Array:
        return x * np.clip(x + 3, 0, 6) / 6

    def slope(self, x: Array) -> Array:
        return np.where(x <= -3, 0, np.where(x < 3, x / 3 + 0.5, 1))
