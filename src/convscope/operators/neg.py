"""The other sign: y = −x.

Source: elementary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from convscope.operators._elementwise import SLOPE, Elementwise
from convscope.operators._operator import Array


@dataclass(frozen=True)
class Neg(Elementwise):
    """What is the contrary of x?

    Shapes: any. Errors: none. δ comes back with the other sign too.

    >>> import numpy as np
    >>> Neg().forward(np.array([1.0, -2.0]))
    array([-1.,  2.])
    """

    aten: ClassVar = ("neg",)
    formula: ClassVar = "y = −x"
    backward_formula: ClassVar = SLOPE + "−1"

    def value(self, x: Array) -> Array:
        return -x

    def slope(self, x: Array) -> Array:
        return np.full_like(x, -1)
