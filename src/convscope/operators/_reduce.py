"""What losses share: one number for each element becomes the loss: their mean, their sum, or themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from convscope.errors import DataError, ShapeError, UsageError
from convscope.geometry import WHOLE, Window
from convscope.operators._operator import Array, Operator, Shape

REDUCTIONS = ("none", "mean", "sum")  # in the order of ATen's numbers 0, 1, 2


@dataclass(frozen=True)
class Loss(Operator):
    """A comparison of x with a target. Never made by itself."""

    reduction: str = "mean"

    arrays: ClassVar = ("x", "target")

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
