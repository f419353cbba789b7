"""Element by element on two operands, of which the second is an array or a plain number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from convscope.errors import UsageError
from convscope.geometry import Window
from convscope.operators._broadcast import broadcast_shape, summed_to
from convscope.operators._operator import Operator, Shape


@dataclass(frozen=True)
class Pair(Operator):
    """x and `other`: given as a second array, or as the field `other` where it is a plain number.

    A leaf writes `_value` and `_slopes`; broadcasting, and summing back what was broadcast, is done here.
    """

    other: float | None = None

    arrays: ClassVar = ("x", "other")

    def output_shape(self, x: Shape, other: Shape | None = None) -> Shape:
        return x if other is None else broadcast_shape(x, other)

    def windows(self, x: Shape, other: Shape | None = None) -> tuple[Window | str, ...]:
        return (Window(),) * max(len(self.output_shape(x, other)) - 2, 0)

    def forward(self, x: Any, other: Any = None) -> Any:
        second = self._second(other)
        self.output_shape(x.shape, None if other is None else other.shape)
        return self._value(x, second)

    def backward(self, delta: Any, x: Any, *other: Any) -> tuple[Any, ...]:
        to_x, to_other = self._slopes(delta, x, self._second(other[0] if other else None))
        return (summed_to(to_x, x.shape), *(None if o is None else summed_to(to_other, o.shape) for o in other))

    def _second(self, other: Any) -> Any:
        if other is None and self.other is None:
            raise UsageError(f"{type(self).__name__} needs a second operand", "neither an array nor a number was given",
                             "pass an array or set other=")
        return self.other if other is None else other

    def _value(self, x: Any, other: Any) -> Any:
        raise NotImplementedError

    def _slopes(self, delta: Any, x: Any, other: Any) -> tuple[Any, Any]:
        """delta times dy/dx and times dy/dother, of the output's shape."""
        raise NotImplementedError
