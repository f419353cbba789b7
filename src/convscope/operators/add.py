"""Sums and differences, element by element, with broadcasting.

    add: y = x + alpha · other        sub: y = x − alpha · other        rsub: y = other − alpha · x

Where branches meet (He et al. 2015, "Deep Residual Learning"), the backward pass hands delta to each of them unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from convscope.operators._lines import filled
from convscope.operators._pair import Pair


def written(formula: str, alpha: float, x: float, other: float) -> str:
    """A sum's formula with its numbers; alpha is left out where it is 1.

    >>> written("y = x − alpha · other", 1, 2.0, 3.0), written("y = x − alpha · other", 0.5, 2.0, 3.0)
    ('2 − 3', '2 − 0.5 · 3')
    """
    short = formula.removeprefix("y = ").replace("alpha · ", "") if alpha == 1 else formula.removeprefix("y = ")
    return filled(short, {"x": x, "other": other, "alpha": alpha})


@dataclass(frozen=True)
class Add(Pair):
    """What is the sum of two branches?

    Formula: y = x + alpha · other. Shapes: x and other broadcast to y. Units: no parameters, no macs. Raises ShapeError
    where they do not broadcast, UsageError where `other` is missing. Source: He et al. 2015 (shortcuts).

    >>> import numpy as np
    >>> Add(1.0).forward(np.array([1.0, 2.0])).tolist()
    [2.0, 3.0]
    """

    alpha: float = 1

    aten: ClassVar = ("add",)
    formula: ClassVar = "y = x + alpha · other"
    backward_formula: ClassVar = "∂L/∂x = δ, ∂L/∂other = alpha · δ (summed over what was broadcast)"
    slopes: ClassVar = ("1", "alpha")
    back: ClassVar = ("δ unchanged: a sum hands it to both branches", "alpha · δ: a sum hands δ to both branches")

    def _value(self, x: Any, other: Any) -> Any:
        return x + self.alpha * other

    def _slopes(self, delta: Any, x: Any, other: Any) -> tuple[Any, Any]:
        return delta, self.alpha * delta

    def _written(self, x: float, other: float) -> str:
        return written(self.formula, self.alpha, x, other)


@dataclass(frozen=True)
class Sub(Pair):
    """What is the difference of two branches?

    Formula: y = x − alpha · other. Shapes: x and other broadcast to y. Units: no parameters, no macs. Raises ShapeError
    where they do not broadcast, UsageError where `other` is missing. Source: elementary.

    >>> import numpy as np
    >>> Sub(1.0).forward(np.array([1.0, 2.0])).tolist()
    [0.0, 1.0]
    """

    alpha: float = 1

    aten: ClassVar = ("sub",)
    formula: ClassVar = "y = x − alpha · other"
    backward_formula: ClassVar = "∂L/∂x = δ, ∂L/∂other = −alpha · δ (summed over what was broadcast)"
    slopes: ClassVar = ("1", "−alpha")
    back: ClassVar = ("δ unchanged", "−alpha · δ")

    def _value(self, x: Any, other: Any) -> Any:
        return x - self.alpha * other

    def _slopes(self, delta: Any, x: Any, other: Any) -> tuple[Any, Any]:
        return delta, -self.alpha * delta

    def _written(self, x: float, other: float) -> str:
        return written(self.formula, self.alpha, x, other)


@dataclass(frozen=True)
class RSub(Pair):
    """What is left of `other` when x is taken away (1 − x, say)?

    Formula: y = other − alpha · x. Shapes: x and other broadcast to y. Units: no parameters, no macs. Raises ShapeError
    where they do not broadcast, UsageError where `other` is missing. Source: elementary.

    >>> import numpy as np
    >>> RSub(1.0).forward(np.array([1.0, 2.0])).tolist()
    [0.0, -1.0]
    """

    alpha: float = 1

    aten: ClassVar = ("rsub",)
    formula: ClassVar = "y = other − alpha · x"
    backward_formula: ClassVar = "∂L/∂x = −alpha · δ, ∂L/∂other = δ (summed over what was broadcast)"
    slopes: ClassVar = ("−alpha", "1")
    back: ClassVar = ("−alpha · δ", "δ unchanged")

    def _value(self, x: Any, other: Any) -> Any:
        return other - self.alpha * x

    def _slopes(self, delta: Any, x: Any, other: Any) -> tuple[Any, Any]:
        return -self.alpha * delta, delta

    def _written(self, x: float, other: float) -> str:
        return written(self.formula, self.alpha, x, other)
