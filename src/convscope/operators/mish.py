"""Mish: x, let through by the hyperbolic tangent of its softplus.

    y = x · tanh(s),  s = log(1 + e^x)        dy/dx = tanh(s) + x · σ(x) · (1 − tanh(s)²)

Source: Misra 2019, "Mish: A Self Regularized Non-Monotonic Activation Function".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from convscope.operators._elementwise import SLOPE, Elementwise, logistic, softplus
from convscope.operators._operator import Array


@dataclass(frozen=True)
class Mish(Elementwise):
    """How much evidence is there, with a small voice for faint contrary evidence?

    Shapes: any. Smooth everywhere, but not monotone: its lowest value is −0.31 at x = −1.19. Errors: none of its own.
    Source: Misra 2019.

    >>> import numpy as np
    >>> Mish().forward(np.array([-1.0, 0.0, 1.0])).round(4)
    array([-0.3034,  0.    ,  0.8651])
    """

    aten: ClassVar = ("mish",)
    formula: ClassVar = "y = x · tanh(log(1 + e^x))"
    backward_formula: ClassVar = SLOPE + "tanh(s) + x · σ(x) · (1 − tanh(s)²),  s = log(1 + e^x)"

    def value(self, x: Array) -> Array:
        return x * np.tanh(softplus(x))

    def slope(self, x: Array) -> Array:
        share = np.tanh(softplus(x))
        return share + x * logistic(x) * (1 - share * share)
