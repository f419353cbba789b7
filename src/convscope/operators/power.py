"""Power: y = x^exponent, with a number as the exponent.

    dy/dx = exponent · x^(exponent − 1)

Graphs also spell it `square` (exponent 2), `reciprocal` (−1) and `rsqrt` (−1/2).

Source: elementary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from convscope.operators._elementwise import SLOPE, Elementwise
from convscope.operators._operator import Array, Shape

_SPELLED = {"square": 2.0, "reciprocal": -1.0, "rsqrt": -0.5}


@dataclass(frozen=True)
class Power(Elementwise):
    """What is x, multiplied by itself so many times?

    Shapes: any. An exponent of 0 has slope 0 everywhere. Errors: none of its own; the root of a negative number is NaN and
    1/0 is infinite, as in PyTorch. Misleads: below exponent 1 the slope at x = 0 is infinite, and training ends in NaN.

    >>> import numpy as np
    >>> Power(3.0).forward(np.array([-1.0, 2.0]))
    array([-1.,  8.])
    """

    exponent: float = 2.0

    aten: ClassVar = ("pow", "square", "reciprocal", "rsqrt")
    formula: ClassVar = "y = x^exponent"
    backward_formula: ClassVar = SLOPE + "exponent · x^(exponent − 1)"

    @classmethod
    def speaks_for(cls, name: str, settings: dict[str, Any]) -> bool:
        """Not where the exponent is an array: 2^x, x^y."""
        return name in _SPELLED or "exponent" in settings

    @classmethod
    def read(cls, name: str, settings: dict[str, Any], shapes: tuple[Shape, ...]) -> Power:
        del shapes
        return cls(float(settings.get("exponent", _SPELLED.get(name, 2.0))))

    def value(self, x: Array) -> Array:
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return np.power(x, self.exponent)

    def slope(self, x: Array) -> Array:
        if self.exponent == 0:
            return np.zeros_like(x)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return self.exponent * np.power(x, self.exponent - 1)
