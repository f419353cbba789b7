"""Shifted fragments in place of dilation: every stride s leaves s maps side by side, each s times coarser.

    fragment f of a map x:   x_f[j] = x[f + s·j],  f = 0 … s − 1

All that follows is run on each fragment as it stands, without dilation; at the end they are sorted together again. The same
numbers as à trous, from dense memory; which is faster depends on the machine. For windows at every pixel (stride 1).

Source: Giusti, Cireşan, Masci, Gambardella, Schmidhuber 2013, "Fast image scanning with deep max-pooling convolutional
neural networks" (max-pooling fragments).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from convscope.dense.axes import Axis, Grid, Part, Tap
from convscope.dense.pieces import ROWS, Axes, Grids, Value
from convscope.dense.primitives import Block, Conv, Operation, separably


class Fragments:
    """A layout for one tile: pieces are (fragments down, fragments across, rows, columns, *lead)."""

    def __init__(self, strides: tuple[int, int]) -> None:
        self.strides = strides  # of the whole network: the windows are filled up to a multiple of them
        self.wanted: Grids = (Grid(0), Grid(0))

    def image(self, x: Tensor, size: tuple[int, int], grids: Grids) -> Value:
        self.wanted = grids
        full = tuple(Grid(-(-grid.count // s) * s) for grid, s in zip(grids, self.strides, strict=True))
        high, wide = (grid.count + n - 1 for grid, n in zip(full, size, strict=True))
        x = x[:, : grids[0].count + size[0] - 1, : grids[1].count + size[1] - 1]
        x = F.pad(x, (0, wide - x.shape[2], 0, high - x.shape[1])).permute(1, 2, 0).contiguous()
        axes = (Axis(size[0]), Axis(size[1]))
        return Value(axes, (full[0], full[1]), {_whole(axes): x[None, None]})

    def windowed(self, operation: Operation, value: Value, taps: tuple[Tap, Tap], axes: Axes) -> Value:
        x = _piece(value)
        for k in (0, 1):
            steps = (axes[k].n - 1) * taps[k].stride + taps[k].span
            x = x.narrow(ROWS + k, 0, value.grids[k].count // x.shape[k] + steps)
        made = operation(Block(x, (1, 1), (taps[0].dilation, taps[1].dilation), (None, None)))
        for k in (0, 1):
            made = _joined(made, k) if axes[k].n == 1 else _split(made, k, taps[k].stride)
        return Value(axes, value.grids, {_whole(axes): made})

    def head(self, value: Value, weight: Tensor, bias: Tensor | None) -> Tensor:
        x = _piece(value)
        kernel = weight.reshape(len(weight), x.shape[-1], value.axes[0].n, value.axes[1].n)
        return self._sorted(Conv(kernel, bias)(Block(x, (1, 1), (1, 1), (None, None)))).flatten(0, 1)

    def over_map(self, value: Value, how: str) -> Tensor:
        count = (value.axes[0].n, value.axes[1].n)
        join = torch.maximum if how == "max" else torch.add
        made = separably(Block(_piece(value), (1, 1), (1, 1), (None, None)), count, join)
        made = made / (count[0] * count[1]) if how == "mean" else made
        return self._sorted(made).flatten(0, 1)

    def rows(self, value: Value) -> Tensor:
        """(P·Q, *lead, 1, 1): of a map of one position."""
        return self._sorted(_piece(value)).flatten(0, 1)[..., None, None]

    def _sorted(self, made: Tensor) -> Tensor:
        """(P, Q, *lead)"""
        whole = _joined(_joined(made, 0), 1)[0, 0]
        return whole[: self.wanted[0].count, : self.wanted[1].count]


def _piece(value: Value) -> Tensor:
    return next(iter(value.pieces.values()))


def _whole(axes: Axes) -> tuple[Part, Part]:
    return Part(True, 0, axes[0].n), Part(True, 0, axes[1].n)


def _split(x: Tensor, k: int, stride: int) -> Tensor:
    """(f, …, s·j, …) → (s·f, …, j, …): fragment a·f + old holds every s-th row from row a on."""
    if stride == 1:
        return x
    at = ROWS + k
    parts = x.unflatten(at, (x.shape[at] // stride, stride)).movedim(at + 1, k)
    return parts.flatten(k, k + 1)


def _joined(x: Tensor, k: int) -> Tensor:
    """(f, …, j, …) → (1, …, f·j, …): all rows in their order."""
    if x.shape[k] == 1:
        return x
    at = ROWS + k
    return x.movedim(k, at).flatten(at - 1, at).unsqueeze(k)
