"""Sigmoid linear unit (swish): y = x · σ(x), σ the logistic function.

Sources: Hendrycks and Gimpel 2016; Elfwing, Uchibe, Doya 2018; Ramachandran, Zoph, Le 2017 ("swish").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from convscope.operators._elementwise import SLOPE, Elementwise, logistic
from convscope.operators._operator import Array


@dataclass(frozen=True)
class SiLU(Elementwise):
    """How much evidence is there, let through in proportion to its own sigmoid?

    Shapes: any. Smooth everywhere, but not monotone: its lowest value is −0.28 at x = −1.28.

    >>> import numpy as np
    >>> SiLU().forward(np.array([-1.0, 0.0, 1.0])).round(4)
    array([-0.2689,  0.    ,  0.7311])
    """

    aten: ClassVar = ("silu",)
    formula: ClassVar = "y = x / (1 + e^−x)"
    backward_formula: ClassVar = SLOPE + "σ(x) · (1 + x · (1 − σ(x)))"

    def value(self, x: Array) -> Array:
        return x * logistic(x)

    def slope(self, x: Array) -> Array:
        share = logistic(x)
        return share * (1 + x * (1 - share))
