"""Dropout: while training, silence units at random and raise the rest, so that the expected value stays.

    y = x · mask / (1 − p)        training, mask 1 where a unit is kept (probability 1 − p)
    y = x                         otherwise

The mask is an argument, because an operation that can be checked is one that can be repeated.

Source: Srivastava et al. 2014, "Dropout: A Simple Way to Prevent Neural Networks from Overfitting".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from convscope.errors import ShapeError, UsageError
from convscope.operators._lines import require_gradient
from convscope.operators._operator import Array, Operator, Shape
from convscope.operators._working import Working, number, place
from convscope.results import Gradient, Line


@dataclass(frozen=True)
class Dropout(Operator):
    """What is left when a random share p of the units is silent?

    Shapes: x, mask and y any, all equal (mask boolean or 0 and 1). `train=False` hands x on and needs no mask.
    Raises UsageError for p outside 0 … 1 or a missing mask, ShapeError for a mask of another shape.

    >>> import numpy as np
    >>> Dropout(0.5).forward(np.array([1.0, 2.0, 3.0]), np.array([True, False, True]))
    array([2., 0., 6.])
    """

    p: float = 0.5
    train: bool = True

    aten: ClassVar = ("dropout", "native_dropout")  # in an evaluation graph it is gone, or a copy
    arrays: ClassVar = ("x", "mask")
    formula: ClassVar = "y = x · mask / (1 − p)"
    backward_formula: ClassVar = "∂L/∂x = δ · mask / (1 − p)"

    @classmethod
    def read(cls, name: str, settings: dict[str, Any], shapes: tuple[Shape, ...]) -> Dropout:
        """native_dropout's `train` may be None, which means yes."""
        del name, shapes
        return cls(float(settings.get("p", 0.5)), settings.get("train") is not False)

    def __post_init__(self) -> None:
        if not 0 <= self.p <= 1:
            raise UsageError(f"a share p = {self.p} of silent units", "", "p must lie in 0 … 1")

    def mask(self, shape: Shape, seed: int | tuple[int, ...]) -> Array:
        """A mask drawn with `seed` (a number, or several): True with probability 1 − p."""
        return np.random.default_rng(seed).random(shape) >= self.p

    def forward(self, x: Array, mask: Array = None) -> Array:
        return x * self._gain(x, mask) if self.train else x.copy()

    def backward(self, delta: Array, x: Array, *mask: Array) -> tuple[Array, ...]:
        grad = delta * self._gain(x, mask[0] if mask else None) if self.train else delta.copy()
        return (grad, *(None for _ in mask))

    # --- written out ---------------------------------------------------------------------------------------------------

    def gradients(self, x: Shape, mask: Shape | None = None) -> tuple[Gradient, ...]:
        how = "δ with the same mask and the same factor: nothing flows to silent units" if self.train else "δ unchanged"
        sizes = f"factor 1/(1 − {self.p:g}) = {1 / (1 - self.p):.6g}" if self.train and self.p < 1 else ""
        return (Gradient("x", x, how, sizes),)

    def explain_value(self, at: tuple[int, ...], x: Array, mask: Array = None) -> Working:
        return Working(self.formula, (self._line("y", place("x", at), at, x[at], (x, mask)),))

    def explain_gradient(self, which: int, at: tuple[int, ...], delta: Array, x: Array, *mask: Array) -> Working:
        require_gradient(self, which, (0,))
        line = self._line(f"∂L/∂{place('x', at)}", "δ", at, delta[at], (x, mask[0] if mask else None))
        return Working(self.backward_formula, (line,))

    def _line(self, what: str, name: str, at: tuple[int, ...], value: float, arrays: tuple[Array, Array]) -> Line:
        """What became of one number on its way, forwards or backwards."""
        if not self.train:
            return Line(f"{what} = {name} = {number(value)}: outside training dropout hands everything on", float(value))
        gain = float(self._gain(*arrays)[at])
        if gain == 0:
            return Line(f"{what} = 0: this unit is silent", 0.0)
        result = float(value) * gain
        return Line(f"kept: {what} = {name} / (1 − p) = {number(value)} / {number(1 - self.p)} = {number(result)}", result)

    def _gain(self, x: Array, mask: Array) -> Array:
        if mask is None:
            raise UsageError("dropout in training is random", "no mask was given",
                             "pass one, e.g. Dropout(p).mask(x.shape, seed=0)")
        if mask.shape != x.shape:
            raise ShapeError(f"a mask of shape {mask.shape} for an input of shape {x.shape}", "", "they must be equal")
        return mask.astype(x.dtype) * (0.0 if self.p == 1 else 1 / (1 - self.p))
