"""Reductions: mean, sum or maximum over whole axes (over the map: global pooling).

    mean: y = 1/n · Σ x        sum: y = Σ x        amax: y = max x

Source: Lin, Chen, Yan 2013, "Network In Network" (global average pooling in place of dense layers).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

import numpy as np

from convscope.geometry import WHOLE, Window
from convscope.operators._operator import Operator, Shape


@dataclass(frozen=True)
class GlobalPool(Operator):
    """What is the mean, sum or maximum over whole axes?

    Shapes: x any; y as x with the axes `dim` gone, or of size 1 with `keepdim`; `dim` None or empty means all axes.
    Units: no parameters, no macs. windows, per spatial axis of x: WHOLE where it is reduced, position by position elsewhere.
    Backward: mean and sum spread delta over what was reduced; amax shares it equally among equal maxima (as PyTorch's amax).
    Misleads: a mean over a map forgets where something was. Source: Lin et al. 2013.

    >>> GlobalPool("mean", (2, 3)).output_shape((1, 2048, 7, 7)), GlobalPool("mean", (2, 3)).windows((1, 2048, 7, 7))
    ((1, 2048), ('whole', 'whole'))
    """

    kind: str = "mean"
    dim: int | tuple[int, ...] | None = None
    keepdim: bool = False

    aten: ClassVar = ("mean", "sum", "amax")
    formula: ClassVar = "y = mean (or Σ, or max) of x over the axes dim"

    @classmethod
    def read(cls, name: str, settings: dict[str, Any], shapes: tuple[Shape, ...]) -> Operator:
        """The ATen name is the kind."""
        return super().read(name, {**settings, "kind": name}, shapes)

    def output_shape(self, x: Shape) -> Shape:
        axes = self._axes(len(x))
        return tuple(1 if a in axes else n for a, n in enumerate(x) if self.keepdim or a not in axes)

    def windows(self, x: Shape) -> tuple[Window | str, ...]:
        axes = self._axes(len(x))
        return tuple(WHOLE if a in axes else Window() for a in range(2, len(x)))

    def forward(self, x: Any) -> Any:
        reduce = {"mean": np.mean, "sum": np.sum, "amax": np.max}[self.kind]
        return np.asarray(reduce(x, axis=self._axes(x.ndim), keepdims=self.keepdim))

    def backward(self, delta: Any, x: Any) -> tuple[Any, ...]:
        axes = self._axes(x.ndim)
        spread = np.broadcast_to(np.expand_dims(delta, axes) if not self.keepdim else delta, x.shape)
        if self.kind == "amax":
            top = x == x.max(axis=axes, keepdims=True)
            return (spread * top / top.sum(axis=axes, keepdims=True).astype(delta.dtype),)
        return (spread / prod(x.shape[a] for a in axes) if self.kind == "mean" else spread.copy(),)

    def _axes(self, rank: int) -> tuple[int, ...]:
        if self.dim is None or self.dim == ():
            return tuple(range(rank))
        return tuple(sorted(d % rank for d in ((self.dim,) if isinstance(self.dim, int) else self.dim)))
