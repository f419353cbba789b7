"""Clipped linear unit: y = x between two bounds, and the bound itself beyond. With 0 and 6 it is ReLU6.

Source: Krizhevsky 2010, "Convolutional Deep Belief Networks on CIFAR-10"; used by Sandler et al. 2018 (MobileNetV2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from convscope.operators._elementwise import SLOPE, Elementwise
from convscope.operators._operator import Array


@dataclass(frozen=True)
class ReLU6(Elementwise):
    """How much evidence is there, up to a bound?

    ATen calls it `hardtanh`, with bounds −1 and 1 unless told otherwise.
    Shapes: any. Slope 1 strictly between the bounds, else 0; at both kinks it is 0.
    Misleads: a unit above the bound has no gradient, though it is as active as can be.

    >>> import numpy as np
    >>> ReLU6().forward(np.array([-1.0, 3.0, 9.0]))
    array([0., 3., 6.])
    """

    min_val: float = 0.0
    max_val: float = 6.0

    aten: ClassVar = ("hardtanh",)
    formula: ClassVar = "y = min(max(x, min_val), max_val)"
    backward_formula: ClassVar = SLOPE + "1 if min_val < x < max_val else 0"

    @classmethod
    def read(cls, name: str, settings: dict[str, object], shapes: tuple[tuple[int, ...], ...]) -> ReLU6:
        """Arguments that the graph leaves out have hardtanh's defaults, not ours."""
        del name, shapes
        bounds = {"min_val": -1.0, "max_val": 1.0} | settings
        return cls(float(bounds["min_val"]), float(bounds["max_val"]))  # type: ignore[arg-type]

    def value(self, x: Array) -> Array:
        return np.clip(x, self.min_val, self.max_val)

    def slope(self, x: Array) -> Array:
        return (x > self.min_val) & (x < self.max_val)
