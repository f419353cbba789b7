"""Padding: more pixels around the map, made up from a constant or from the map itself. Negative numbers crop.

Output i along an axis copies the source pixel  i − before,  and where that lies outside 0 … n − 1:

    constant: the given value     replicate: the nearest pixel     circular: modulo n     reflect: mirrored at the edge
    pixels

The backward pass adds every copy's delta to its source.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from convscope.errors import ShapeError, UsageError
from convscope.geometry import Window
from convscope.operators._moves import Move
from convscope.operators._operator import Operator, Shape
from convscope.operators._working import plus

MODES = ("constant", "reflect", "replicate", "circular")


@dataclass(frozen=True)
class Pad(Move):
    """Which source pixel does each output pixel copy?

    Formula: y[…, i] = x[…, source(i − before)]. Shapes: x any, y larger (or smaller) along its last axes: `pad` lists
    (before, after) from the last axis backwards, as PyTorch does. Units: no parameters, no macs. Raises ShapeError where
    less than one pixel is left, or where reflect (before, after < n) and circular (≤ n) run out of pixels; UsageError for
    an unknown mode. windows shift by `before`; misleads: near the border the modes other than constant read pixels further
    inside than that. Source: as in PyTorch's `torch.nn.functional.pad`.

    >>> Pad((2, 1), "reflect").forward(np.array([[[1.0, 2.0, 3.0]]])).tolist()
    [[[3.0, 2.0, 1.0, 2.0, 3.0, 2.0]]]
    """

    pad: tuple[int, ...]
    mode: str = "constant"
    value: float | None = None

    aten: ClassVar = ("pad", "constant_pad_nd", "reflection_pad1d", "reflection_pad2d", "reflection_pad3d",
                      "replication_pad1d", "replication_pad2d", "replication_pad3d")
    formula: ClassVar = "y[…,i] = x[…,source(i − before)]"
    backward_formula: ClassVar = "∂L/∂x[…,p] = Σ_{i: source(i − before) = p} δ[…,i]"
    back: ClassVar = "δ cropped to x; what stood in the padding is added to the pixel it copied, or dropped if constant"

    def __post_init__(self) -> None:
        if self.mode not in MODES or len(self.pad) % 2:
            raise UsageError(f"padding {self.pad} of mode {self.mode!r} is not known", f"modes are {', '.join(MODES)}",
                             "give (before, after) for every padded axis")

    @classmethod
    def read(cls, name: str, settings: dict[str, Any], shapes: tuple[Shape, ...]) -> Operator:
        """aten.reflection_pad2d and its like say the mode in their name and call the numbers 'padding'."""
        if name.startswith(("reflection", "replication")):
            return cls(tuple(settings["padding"]), "reflect" if name.startswith("reflection") else "replicate")
        return super().read(name, settings, shapes)

    def output_shape(self, x: Shape) -> Shape:
        out = tuple(n + before + after for n, (before, after) in zip(x, self._sides(len(x)), strict=True))
        if any(m < 1 <= n for m, n in zip(out, x, strict=True)):
            raise ShapeError(f"cropping {x} by {self.pad} leaves nothing", f"the size would be {out}", "crop less")
        return out

    def windows(self, x: Shape) -> tuple[Window | str, ...]:
        return tuple(Window(padding=before) for before, _ in self._sides(len(x))[2:])

    def forward(self, x: Any) -> Any:
        self.output_shape(x.shape)
        for axis, source in self._sources(x.shape):
            inside = source >= 0
            x = np.take(x, np.where(inside, source, 0), axis=axis)
            fill = np.asarray(self.value or 0, x.dtype)
            x = np.where(inside.reshape(-1, *(1,) * (x.ndim - 1 - axis)), x, fill)
        return x.copy()

    def backward(self, delta: Any, x: Any) -> tuple[Any, ...]:
        for axis, source in self._sources(x.shape):
            inside = source >= 0
            grad = np.zeros((*delta.shape[:axis], x.shape[axis], *delta.shape[axis + 1:]), delta.dtype)
            np.add.at(np.moveaxis(grad, axis, 0), source[inside], np.moveaxis(delta, axis, 0)[inside])
            delta = grad
        return (delta.copy(),)

    def back_sizes(self, which: int, out: str, *shapes: Any) -> str:
        sides = zip(shapes[0], self._sides(len(shapes[0])), strict=True)
        each = [f"{n + p + q}{plus(-p)}{plus(-q)} = {n}" for n, (p, q) in sides if p or q]
        return "; ".join(dict.fromkeys(each)) or f"{out} → {out}"

    def _sides(self, rank: int) -> tuple[tuple[int, int], ...]:
        """(before, after) for every axis, first axis first."""
        pairs = [(self.pad[i], self.pad[i + 1]) for i in range(0, len(self.pad), 2)]
        if len(pairs) > rank:
            raise ShapeError(f"padding {self.pad} is for {len(pairs)} axes", f"the input has {rank}", "pad fewer axes")
        return (*((0, 0),) * (rank - len(pairs)), *reversed(pairs))

    def _sources(self, x: Shape) -> list[tuple[int, Any]]:
        """Per padded axis: the source pixel of every output pixel, −1 where it is the constant."""
        found = []
        for axis, (n, (before, after)) in enumerate(zip(x, self._sides(len(x)), strict=True)):
            if before == after == 0:
                continue
            limit = {"reflect": n - 1, "circular": n}.get(self.mode)
            if limit is not None and max(before, after) > limit:
                raise ShapeError(f"mode {self.mode!r} cannot pad {n} pixels by {max(before, after)}",
                                 f"at most {limit} are there", "pad less or use 'replicate'")
            i = np.arange(-before, n + after)
            if self.mode == "constant":
                i = np.where((i >= 0) & (i < n), i, -1)
            elif self.mode == "replicate":
                i = np.clip(i, 0, n - 1)
            elif self.mode == "circular":
                i = i % n
            else:  # reflect: fold at 0, then at n − 1
                i = (n - 1) - np.abs((n - 1) - np.abs(i))
            found.append((axis, i))
        return found
