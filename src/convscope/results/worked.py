"""What is worked out: one number, step by step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from convscope.results.base import Result

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Grid:
    """Numbers as they lie in a layer: a window of the input, a kernel, the output around a cell."""

    name: str  # 'window of x', 'kernel 3', 'y'
    values: NDArray[Any]  # (C, h, w), (h, w), (n,) or (n, m)
    start: tuple[int, ...] = ()  # index in the whole array of the first number; negative: it lies in the padding
    step: tuple[int, ...] = ()  # distance in the whole array of two neighbours, per axis (dilation); empty: 1
    marked: tuple[tuple[int, ...], ...] = ()  # cells in play, as indices into `values`
    whole: tuple[int, ...] = ()  # shape of the whole array; places beyond it lie in the padding; empty: not said


@dataclass(frozen=True)
class Terms:
    """A sum of products, product by product: Σ left·right."""

    left: str  # what the first factor is: 'x', 'δ'
    right: str  # what the second factor is: 'weight'
    left_at: NDArray[np.integer]  # (n, axes) where each first factor stands in its array; negative or beyond: padding
    right_at: NDArray[np.integer]  # (n, axes)
    left_values: NDArray[np.floating]  # (n,)
    right_values: NDArray[np.floating]  # (n,)

    @property
    def products(self) -> NDArray[np.floating]:
        """(n,)"""
        return self.left_values * self.right_values


@dataclass(frozen=True)
class Line:
    """One line of arithmetic: 'σ = √(variance + eps) = √(0.25 + 1e-05)', and what it comes to."""

    text: str
    value: float


@dataclass(frozen=True, kw_only=True)
class Steps(Result):
    """How does one number come about? One output value, one delta or one weight gradient, worked out."""

    kind: ClassVar[str] = "steps"
    title: str  # 'conv1/3@5,9: one output value'
    layer: str  # address
    operator: str
    direction: str  # 'forward', 'input', 'weights', 'update'
    at: tuple[int, ...]  # index of the number in its array
    formula: str  # with letters
    lines: tuple[Line, ...]  # the arithmetic, top to bottom; the last line's value is `value`
    value: float  # ours
    check: float  # autograd's number for the same thing
    grids: tuple[Grid, ...] = ()
    terms: Terms | None = None  # the products that one of the lines adds up
    crops: tuple[NDArray[np.uint8], ...] = ()  # (h, w, 3) what each of the largest terms saw of the image
    captions: tuple[str, ...] = ()  # one a crop
    table: dict[str, NDArray[Any]] = field(default_factory=dict[str, Any])  # numbers side by side, one row each
    units: dict[str, str] = field(default_factory=dict[str, str])  # what a column of `table` means
    notes: tuple[str, ...] = ()

    @property
    def difference(self) -> float:
        """How far ours is from autograd's."""
        return abs(self.value - self.check)
