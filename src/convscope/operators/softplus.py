"""Softplus: a ReLU without a corner, whose slope is the logistic function.

    y = log(1 + e^(beta·x))/beta        dy/dx = 1/(1 + e^(−beta·x))

Above the threshold (beta·x > threshold) PyTorch takes the straight line y = x instead; the two differ there by less than
e^(−threshold)/beta.

Source: Dugas, Bengio, Bélisle, Nadeau, Garcia 2001, "Incorporating Second-Order Functional Knowledge for Better Option
Pricing".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from convscope.operators._elementwise import SLOPE, Elementwise, logistic, softplus
from convscope.operators._operator import Array


@dataclass(frozen=True)
class Softplus(Elementwise):
    """How much evidence is there, with no point at which it stops to matter?

    Shapes: any. y > 0; the slope lies in 0 … 1. Errors: none of its own. Source: Dugas et al. 2001.
    Misleads: beyond the threshold it is exactly linear, so the slope jumps there by e^(−threshold).

    >>> import numpy as np
    >>> Softplus().forward(np.array([-1000.0, 0.0, 30.0])).round(4)
    array([ 0.    ,  0.6931, 30.    ])
    """

    beta: float = 1.0
    threshold: float = 20.0

    aten: ClassVar = ("softplus",)
    formula: ClassVar = "y = x if beta·x > threshold else log(1 + e^(beta·x))/beta"
    backward_formula: ClassVar = SLOPE + "1 if beta·x > threshold else 1/(1 + e^(−beta·x))"

    def value(self, x: Array) -> Array:
        return np.where(self.beta * x > self.threshold, x, softplus(self.beta * x) / self.beta)

    def slope(self, x: Array) -> Array:
        return np.where(self.beta * x > self.threshold, 1, logistic(self.beta * x))
