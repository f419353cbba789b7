"""Clamp: y = x between two bounds, and the bound itself beyond. Either bound may be missing.

It is ReLU6's formula (relu6.py), but at a bound itself PyTorch lets δ through here and blocks it there.

Source: elementary; as `torch.clamp`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Any, ClassVar

import numpy as np

from convscope.errors import UsageError
from convscope.operators._elementwise import SLOPE, Elementwise
from convscope.operators._operator import Array


@dataclass(frozen=True)
class Clamp(Elementwise):
    """What is left of x when it may not leave a range?

    Shapes: any. Slope 1 between the bounds and at them, else 0. Raises UsageError where both bounds are missing.
    Misleads: a lower bound above the upper one is allowed; everything is then the upper one, as in PyTorch.

    >>> import numpy as np
    >>> Clamp(min=-1.0).forward(np.array([-3.0, 3.0]))
    array([-1.,  3.])
    """

    min: float | None = None
    max: float | None = None

    aten: ClassVar = ("clamp", "clamp_min", "clamp_max", "clip")
    formula: ClassVar = "y = min(max(x, lower bound), upper bound)"
    backward_formula: ClassVar = SLOPE + "1 if lower bound ≤ x ≤ upper bound else 0"

    def __post_init__(self) -> None:
        if self.min is None and self.max is None:
            raise UsageError("a clamp without bounds", "min and max are both None", "give at least one of them")

    @classmethod
    def speaks_for(cls, name: str, settings: dict[str, Any]) -> bool:
        """Not where the bounds are arrays."""
        del name
        return settings.get("min") is not None or settings.get("max") is not None

    def value(self, x: Array) -> Array:
        return np.minimum(np.maximum(x, self._lower), self._upper)

    def slope(self, x: Array) -> Array:
        return (x >= self._lower) & (x <= self._upper)

    def texts(self) -> tuple[str, str]:
        lower, upper = ("min", "max") if self.min is not None and self.max is not None else (
            ("min", "") if self.max is None else ("", "max"))
        inner = f"max(x, {lower})" if lower else "x"
        inside = f"{lower} ≤ x ≤ {upper}" if lower and upper else (f"x ≥ {lower}" if lower else f"x ≤ {upper}")
        return f"y = min({inner}, {upper})" if upper else f"y = {inner}", f"1 if {inside} else 0"

    @property
    def _lower(self) -> float:
        return -inf if self.min is None else self.min

    @property
    def _upper(self) -> float:
        return inf if self.max is None else self.max
