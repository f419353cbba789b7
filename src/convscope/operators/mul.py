"""Products and quotients, element by element, with broadcasting.

    mul: y = x · other        div: y = x / other

A gate times a map (Hu et al. 2018, "Squeeze-and-Excitation Networks"): backward, the gate gets delta · map, summed over the
map.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from convscope.errors import UsageError
from convscope.operators._operator import Shape
from convscope.operators._pair import Pair
from convscope.results import Gradient


@dataclass(frozen=True)
class Mul(Pair):
    """What is the product of two branches, say of a map and its gate?

    Formula: y = x · other. Shapes: x and other broadcast to y. Units: no parameters; macs 0, since nothing is accumulated.
    Raises ShapeError where they do not broadcast, UsageError where `other` is missing. Source: Hu et al. 2018 (gates).

    >>> Mul(2.0).forward(np.array([1.0, 2.0])).tolist()
    [2.0, 4.0]
    """

    aten: ClassVar = ("mul",)
    formula: ClassVar = "y = x · other"
    backward_formula: ClassVar = "∂L/∂x = δ · other, ∂L/∂other = δ · x (summed over what was broadcast)"
    slopes: ClassVar = ("other", "x")
    back: ClassVar = ("δ · other (product rule)", "δ · x (product rule)")

    def _value(self, x: Any, other: Any) -> Any:
        return x * other

    def _slopes(self, delta: Any, x: Any, other: Any) -> tuple[Any, Any]:
        return delta * other, delta * x


@dataclass(frozen=True)
class Div(Pair):
    """What is the quotient of two branches?

    Formula: y = x / other; rounding_mode 'floor' or 'trunc' rounds it, and then nothing flows back. Shapes: x and other
    broadcast to y. Units: no parameters, macs 0. Raises ShapeError where they do not broadcast, UsageError for another
    rounding mode. Misleads: division by 0 gives inf or NaN, as in PyTorch. Source: elementary.

    >>> Div(2.0).forward(np.array([1.0, 2.0])).tolist()
    [0.5, 1.0]
    """

    rounding_mode: str | None = None

    aten: ClassVar = ("div",)
    formula: ClassVar = "y = x / other"
    backward_formula: ClassVar = "∂L/∂x = δ / other, ∂L/∂other = −δ · x / other² (summed over what was broadcast)"
    slopes: ClassVar = ("1/other", "−x/other²")
    back: ClassVar = ("δ / other", "−δ · x / other²")

    def __post_init__(self) -> None:
        if self.rounding_mode not in (None, "floor", "trunc"):
            raise UsageError(f"rounding mode {self.rounding_mode!r} is not known", "", "use None, 'floor' or 'trunc'")

    def _value(self, x: Any, other: Any) -> Any:
        with np.errstate(divide="ignore", invalid="ignore"):
            y = x / other
        return y if self.rounding_mode is None else (np.floor if self.rounding_mode == "floor" else np.trunc)(y)

    def _slopes(self, delta: Any, x: Any, other: Any) -> tuple[Any, Any]:
        if self.rounding_mode is not None:
            return np.zeros_like(delta), np.zeros_like(delta)
        with np.errstate(divide="ignore", invalid="ignore"):
            return delta / other, -delta * x / (other * other)

    def gradients(self, x: Shape, other: Shape | None = None) -> tuple[Gradient, ...]:
        found = super().gradients(x, other)
        if self.rounding_mode is None:
            return found
        return tuple(replace(one, how="0: a rounded quotient is flat") for one in found)

    def _written(self, x: float, other: float) -> str:
        quotient = super()._written(x, other)
        return quotient if self.rounding_mode is None else f"{self.rounding_mode}({quotient})"
