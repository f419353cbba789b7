"""Operations that keep all numbers, in row order, and only say the shape anew."""

from __future__ import annotations

from math import prod
from typing import Any, ClassVar

from convscope.geometry import WHOLE, Window
from convscope.operators._moves import Move
from convscope.operators._operator import Shape


class Rearrange(Move):
    """A leaf writes `output_shape`; the rest follows.

    windows, per spatial axis of x: position by position if the axis survives as an axis of y, WHOLE if it was merged with
    others or cut (what reads the flattened vector then reads all of it).
    """

    backward_formula: ClassVar = "∂L/∂x.ravel() = δ.ravel()"
    back: ClassVar = "δ in the shape of x: the same numbers in the same order"

    def windows(self, x: Shape) -> tuple[Window | str, ...]:
        out = self.output_shape(x)
        survivors = {(prod(out[:b]), n) for b, n in enumerate(out)}  # an axis is known by what comes before it, and its size
        return tuple(Window() if x[a] == 1 or (prod(x[:a]), x[a]) in survivors else WHOLE for a in range(2, len(x)))

    def forward(self, x: Any) -> Any:
        return x.reshape(self.output_shape(x.shape)).copy()

    def backward(self, delta: Any, x: Any) -> tuple[Any, ...]:
        return (delta.reshape(x.shape).copy(),)
