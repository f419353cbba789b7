"""Rectified linear unit: y = max(x, 0).

Source: Nair and Hinton 2010, "Rectified Linear Units Improve Restricted Boltzmann Machines".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from convscope.operators._elementwise import SLOPE, Elementwise
from convscope.operators._operator import Array
from convscope.operators._working import number


@dataclass(frozen=True)
class ReLU(Elementwise):
    """Is there any evidence, and how much?

    Shapes: any. Slope 1 where x > 0, else 0; at the kink x = 0 it is 0.
    Misleads: a unit that is negative on all data has no gradient and never learns again.

    >>> import numpy as np
    >>> ReLU().forward(np.array([-1.0, 0.0, 2.0]))
    array([0., 0., 2.])
    """

    aten: ClassVar = ("relu",)
    formula: ClassVar = "y = max(x, 0)"
    backward_formula: ClassVar = SLOPE + "1 if x > 0 else 0"

    def value(self, x: Array) -> Array:
        return np.maximum(x, 0)

    def slope(self, x: Array) -> Array:
        return x > 0

    def remark(self, x: float, slope: float) -> str:
        del slope
        return f"x = {number(x)} > 0: δ passes unchanged" if x > 0 else f"x = {number(x)} ≤ 0: blocked"
