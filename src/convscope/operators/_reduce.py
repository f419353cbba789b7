"""What losses share: one number for each element becomes the loss: their mean, their sum, or themselves.

    loss = Σ losses / n        ∂L/∂x = δ · (slope of the element's own loss) / n        n = 1 for the sum

A leaf gives the losses, their slopes, and both as text for one element.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar, Self

import numpy as np

from convscope.errors import DataError, ShapeError, UsageError
from convscope.geometry import WHOLE, Window
from convscope.operators._lines import at_text, count, factor, largest, require_gradient
from convscope.operators._operator import Array, Operator, Shape
from convscope.operators._working import Working, number
from convscope.results import Gradient, Line, Terms

REDUCTIONS = ("none", "mean", "sum")  # in the order of ATen's numbers 0, 1, 2


@dataclass(frozen=True)
class Loss(Operator):
    """A comparison of x with a target. Never made by itself."""

    reduction: str = "mean"

    arrays: ClassVar = ("x", "target")
    differentiated: ClassVar = (0, 1)  # which arrays have a gradient
    elements: ClassVar = "numbers"  # what the losses are losses of

    def __post_init__(self) -> None:
        if self.reduction not in REDUCTIONS:
            raise UsageError(f"no reduction named {self.reduction!r}", "", "use 'none', 'mean' or 'sum'")

    @classmethod
    def read(cls, name: str, settings: dict[str, Any], shapes: tuple[Shape, ...]) -> Self:
        number = settings.get("reduction", 1)
        return super().read(name, settings | {"reduction": REDUCTIONS[number]}, shapes)  # type: ignore[return-value]

    def output_shape(self, x: Shape, *_: Shape | None) -> Shape:
        return x if self.reduction == "none" else ()

    def windows(self, x: Shape, *_: Shape | None) -> tuple[Window | str, ...]:
        return (Window() if self.reduction == "none" else WHOLE,) * max(len(x) - 2, 0)

    def losses(self, *arrays: Any, **named: Any) -> Array:
        """The loss of each element."""
        raise NotImplementedError

    def loss_text(self, at: tuple[int, ...], *arrays: Any, **named: Any) -> str:
        """The loss of one element in numbers: '(3 − 1)² = 4'."""
        raise NotImplementedError

    def slope_lines(self, which: int, at: tuple[int, ...], *arrays: Any, **named: Any) -> list[Line]:
        """The derivative of an element's own loss by one number; the last line has it."""
        raise NotImplementedError

    def divisor(self, *arrays: Any) -> float:
        """What the mean divides by."""
        return self._count(arrays[0])

    def element_of(self, at: tuple[int, ...], *arrays: Any) -> tuple[int, ...]:
        """The element whose loss reads number `at`."""
        del arrays
        return at

    def products(self, *arrays: Any, **named: Any) -> Terms | None:
        """The losses as products, where they are."""
        del arrays, named
        return None

    # --- written out ---------------------------------------------------------------------------------------------------

    def gradients(self, *shapes: Shape | None) -> tuple[Gradient, ...]:
        each = f", {self.shared_by(*shapes)}" if self.reduction == "mean" else ""
        named = ((i, self.arrays[i], shapes[i]) for i in self.differentiated if i < len(shapes))
        return tuple(Gradient(name, shape, self.slope_formula(i) + each, f"{count(shape)} numbers")
                     for i, name, shape in named if shape is not None)

    def slope_formula(self, which: int) -> str:
        """The derivative of an element's own loss by array `which`, in letters."""
        raise NotImplementedError

    def shared_by(self, *shapes: Shape | None) -> str:
        """What the mean does to a gradient: 'divided by the 64 examples of the mean'."""
        x = shapes[0]
        assert x is not None
        return f"divided by the {prod(x)} {self.elements} of the mean"

    def explain_value(self, at: tuple[int, ...], *arrays: Any) -> Working:
        losses = self.losses(*arrays)
        if self.reduction == "none":
            value = float(losses[at])
            return Working(self.formula, (Line(f"loss{at_text(at)} = {self.loss_text(at, *arrays)}", value),))
        places = list(np.ndindex(losses.shape))
        lines = largest(losses.reshape(-1),
                        lambda i: f"loss{at_text(places[i])} = {self.loss_text(places[i], *arrays)}", self.elements)
        total = float(losses.sum())
        lines.append(Line(f"Σ over {len(places)} {self.elements} = {number(total)}", total))
        if self.reduction == "mean":
            n = float(self.divisor(*arrays))
            lines.append(Line(f"loss = Σ/n = {number(total)}/{number(n)} = {number(total / n)}", total / n))
        return Working(self.formula, tuple(lines), self.products(*arrays))

    def explain_gradient(self, which: int, at: tuple[int, ...], delta: Any, *arrays: Any) -> Working:
        require_gradient(self, which, self.differentiated)
        lines = self.slope_lines(which, at, *arrays)
        d = np.asarray(delta, np.float64)
        d = float(d[self.element_of(at, *arrays)] if self.reduction == "none" else d)
        slope, text = lines[-1].value, number(lines[-1].value)
        value, what = slope * d, f"∂L/∂{self.arrays[which]}{at_text(at)}"
        if self.reduction == "mean":
            n = float(self.divisor(*arrays))
            value = slope / n * d
            text += f"/{number(n)}"
        text += f" · {factor(d)} (δ)" if d != 1 else ""
        note = f" ({self.shared_by(*(None if a is None else a.shape for a in arrays))})" * (self.reduction == "mean")
        n = "/n" if self.reduction == "mean" else ""
        formula = f"∂L/∂{self.arrays[which]} = δ{n} · ({self.slope_formula(which)})"
        text = f"{text} = " if text != number(value) else ""
        return Working(formula, (*lines, Line(f"{what} = {text}{number(value)}{note}", value)))

    # --- together ------------------------------------------------------------------------------------------------------

    def reduced(self, losses: Array) -> Array:
        """The loss from the losses of the elements."""
        if self.reduction == "none":
            return losses
        return losses.sum() if self.reduction == "sum" else losses.sum() / self._count(losses)

    def spread(self, delta: Array, losses: Array) -> Array:
        """∂L/∂(losses of the elements) from delta = ∂L/∂loss: a number that every element shares, or one each."""
        delta = np.asarray(delta, losses.dtype)
        return delta / self._count(losses) if self.reduction == "mean" else delta

    def _count(self, losses: Array) -> int:
        if not losses.size:
            raise DataError("the mean of no losses", f"x has the shape {losses.shape}", "give at least one example")
        return losses.size


def require_equal(x: Array, target: Array) -> None:
    if x.shape != target.shape:
        raise ShapeError(f"a target of shape {target.shape} for an output of shape {x.shape}", "",
                         "the two must be equal: broadcasting would compare everything with everything")
