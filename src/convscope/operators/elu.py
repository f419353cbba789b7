"""Exponential linear unit, and its relatives SELU and CELU: smooth to a floor below zero.

    y = scale · x                                  for x > 0
    y = scale · alpha · (e^(input_scale·x) − 1)    below

ELU has scale = input_scale = 1; CELU input_scale = 1/alpha; SELU alpha ≈ 1.6733, scale ≈ 1.0507, made so that unit normal
inputs stay unit normal.

Sources: Clevert, Unterthiner, Hochreiter 2016 (ELU); Klambauer et al. 2017 (SELU); Barron 2017 (CELU).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from convscope.operators._elementwise import SLOPE, Elementwise
from convscope.operators._operator import Array, Shape

SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946


@dataclass(frozen=True)
class ELU(Elementwise):
    """How much evidence is there, with the contrary fading to a floor of −scale·alpha?

    Shapes: any. Slope scale where x > 0, else scale·alpha·input_scale·e^(input_scale·x), at the kink x = 0 too.

    >>> import numpy as np
    >>> ELU().forward(np.array([-1.0, 0.0, 2.0])).round(4)
    array([-0.6321,  0.    ,  2.    ])
    """

    alpha: float = 1.0
    scale: float = 1.0
    input_scale: float = 1.0

    aten: ClassVar = ("elu", "selu", "celu")
    formula: ClassVar = "y = scale · (x if x > 0 else alpha · (e^(input_scale·x) − 1))"
    backward_formula: ClassVar = SLOPE + "scale · (1 if x > 0 else alpha · input_scale · e^(input_scale·x))"

    @classmethod
    def read(cls, name: str, settings: dict[str, Any], shapes: tuple[Shape, ...]) -> ELU:
        del shapes
        alpha = float(settings.get("alpha", 1.0))
        if name == "selu":
            return cls(SELU_ALPHA, SELU_SCALE)
        if name == "celu":
            return cls(alpha, 1.0, 1.0 / alpha)
        return cls(alpha, float(settings.get("scale", 1.0)), float(settings.get("input_scale", 1.0)))

    def value(self, x: Array) -> Array:
        below = np.minimum(x, 0)  # np.where takes both branches: keep e^x from overflowing where it is not used
        return self.scale * np.where(x > 0, x, self.alpha * np.expm1(self.input_scale * below))

    def slope(self, x: Array) -> Array:
        below = np.minimum(x, 0)
        return self.scale * np.where(x > 0, 1, self.alpha * self.input_scale * np.exp(self.input_scale * below))
