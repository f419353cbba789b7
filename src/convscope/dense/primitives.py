"""Convolution, pooling and dense layers on the pieces of a layer: dilated where a map is shared, as they are elsewhere.

    conv, à trous      y[u] = Σ_t w[t] · x[u + t·δ·d/e]          δ: its own dilation; d/e: what earlier strides left behind
    dense layer        y[u] = Σ_i w[i] · x[u + i·d/e]            a convolution whose kernel is the map

Pooling over a rectangle is pooled along rows, then along columns: k + k steps in place of k², on whole rows of channels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from convscope.dense import strips
from convscope.dense.axes import Axis, Grid, Part, Tap
from convscope.dense.pieces import COLUMNS, ROWS, Axes, Grids, Pair, Value

Steps = tuple[int, int]


@dataclass(frozen=True)
class Block:
    """What an operation reads for one piece of its output: values, already padded, and the steps that its windows take."""

    x: Tensor  # (By, Bx, R, S, C)
    stride: Steps
    dilation: Steps
    counts: tuple[Tensor | None, Tensor | None]  # per output position: how many of a pooling window's cells count; None: all


@dataclass(frozen=True)
class Conv:
    """Weights (O, C/groups, k, k) and bias of a convolution."""

    weight: Tensor
    bias: Tensor | None
    groups: int = 1
    fill = 0.0

    def __call__(self, block: Block) -> Tensor:
        x = block.x
        made = F.conv2d(channels_first(x), self.weight, self.bias, block.stride, 0, block.dilation, self.groups)
        return channels_last(made, x.shape[:2])


@dataclass(frozen=True)
class MaxPool:
    """The largest value of a window; padding is −∞."""

    kernel: Steps
    fill = -torch.inf

    def __call__(self, block: Block) -> Tensor:
        return separably(block, self.kernel, torch.maximum)


@dataclass(frozen=True)
class AvgPool:
    """The mean of a window: its sum over `divisor`, or over as many cells as count."""

    kernel: Steps
    divisor: int | None = None
    count_pad: bool = True
    fill = 0.0

    def __call__(self, block: Block) -> Tensor:
        total = separably(block, self.kernel, torch.add)
        if self.divisor is not None:
            return total / self.divisor
        high, wide = (k if counts is None else counts for k, counts in zip(self.kernel, block.counts, strict=True))
        if isinstance(high, Tensor):
            high = high.to(total)[:, None, None]
        if isinstance(wide, Tensor):
            wide = wide.to(total)[:, None]
        return total / (high * wide)


@dataclass(frozen=True)
class Padding:
    """Cells of a constant around the map, as a layer of its own."""

    fill: float

    def __call__(self, block: Block) -> Tensor:
        return block.x[:, :, :: block.stride[0], :: block.stride[1]]


Operation = Conv | MaxPool | AvgPool | Padding


def windowed(operation: Operation, value: Value, taps: tuple[Tap, Tap], axes: Axes) -> Value:
    """An operation with windows on every piece. `axes`: of its output."""
    pairs = [(r, c) for r in axes[0].parts for c in axes[1].parts]
    made: dict[Pair, Tensor] = {}
    for pair in pairs:
        if isinstance(operation, Conv) and operation.groups == 1 and _own(pair) and strips.worth(taps, pair, value.axes):
            weights = (operation.weight, operation.bias)
            corner = _own(pair) == 2
            made[pair] = (strips.corner(value, weights, taps, pair) if corner
                          else strips.edge(value, weights, taps, (axes, pair)))
        else:
            made[pair] = operation(_block(operation, value, taps, (axes, pair)))
    return Value(axes, value.grids, made)


def _own(pair: Pair) -> int:
    """How many of the two axes are kept window by window?"""
    return sum(not part.dense for part in pair)


def _block(operation: Operation, value: Value, taps: tuple[Tap, Tap], out: tuple[Axes, Pair]) -> Block:
    axes, pair = out
    wanted: list[Part] = []
    padding: list[int] = []
    stride: list[int] = []
    dilation: list[int] = []
    counts: list[Tensor | None] = []
    for k in (0, 1):
        grid, before, behind, tap, part = value.grids[k], value.axes[k], axes[k], taps[k], pair[k]
        first, stop = tap.read(part.first, part.stop)
        inside = Part(part.dense, max(first, 0), min(stop, before.n))
        wanted.append(inside)
        cells = grid.spread(before) if part.dense else 1
        padding += [(inside.first - first) * cells, (stop - inside.stop) * cells]
        stride.append(grid.step(behind) // grid.step(before) if part.dense else tap.stride)
        dilation.append(tap.dilation * cells)
        counts.append(_counts(operation, before.n, tap, part))
    x = value.gather(*wanted)
    if any(padding):
        x = F.pad(x, (0, 0, padding[2], padding[3], padding[0], padding[1]), value=operation.fill)
    x = x[:, :, : _used(x.shape[ROWS], value.grids[0], axes[0], (pair[0], taps[0], stride[0], dilation[0]))]
    x = x[:, :, :, : _used(x.shape[COLUMNS], value.grids[1], axes[1], (pair[1], taps[1], stride[1], dilation[1]))]
    return Block(x, (stride[0], stride[1]), (dilation[0], dilation[1]), (counts[0], counts[1]))


def _used(size: int, grid: Grid, axis: Axis, how: tuple[Part, Tap, int, int]) -> int:
    """How much of the input the outputs of a part read: what lies beyond would make further outputs."""
    part, tap, stride, dilation = how
    count = grid.length(axis, part.count) if part.dense else part.count
    used = (count - 1) * stride + dilation * (tap.kernel - 1) + 1
    assert used <= size, f"{used} cells are read of {size}"
    return used


def _counts(operation: Operation, n: int, tap: Tap, part: Part) -> Tensor | None:
    """(positions,) how many cells of a pooling window count, where that differs from position to position."""
    if not isinstance(operation, AvgPool) or operation.divisor is not None or part.dense:
        return None
    low, high = (-tap.pad, n + tap.pad) if operation.count_pad else (0, n)
    found = [min(i * tap.stride - tap.pad + tap.kernel, high) - max(i * tap.stride - tap.pad, low)
             for i in range(part.first, part.stop)]
    return torch.tensor(found)


def separably(block: Block, kernel: Steps, join: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """A window joined along its columns, then along its rows."""
    x = block.x
    for at, k, stride, dilation in zip((ROWS, COLUMNS), kernel, block.stride, block.dilation, strict=True):
        count = (x.shape[at] - dilation * (k - 1) - 1) // stride + 1
        parts = [_every(x, at, t * dilation, (count, stride)) for t in range(k)]
        joined = parts[0]
        for t, part in enumerate(parts[1:]):
            joined = join(joined, part) if t == 0 else join(joined, part, out=joined)  # type: ignore[call-arg]
        x = joined
    return x


def _every(x: Tensor, at: int, first: int, steps: tuple[int, int]) -> Tensor:
    count, stride = steps
    if stride == 1:
        return x.narrow(at, first, count)
    return x.narrow(at, first, (count - 1) * stride + 1)[(slice(None),) * at + (slice(None, None, stride),)]


def head(value: Value, weight: Tensor, bias: Tensor | None) -> Tensor:
    """(P·Q, O) a dense layer (O, C·h·w) that reads the flattened map: convolutions whose kernels are the pieces."""
    (channels,) = value.lead
    kernel = weight.reshape(len(weight), channels, value.axes[0].n, value.axes[1].n)
    total: Tensor | None = None
    for (r, c), piece in value.pieces.items():
        part = kernel[:, :, r.first : r.stop, c.first : c.stop].contiguous(memory_format=torch.channels_last)
        dilation, stride = _spans(value.grids, value.axes, (r, c))
        made = F.conv2d(channels_first(piece), part, bias if total is None else None, stride, 0, dilation)
        found = _per_window(channels_last(made, piece.shape[:2]))
        total = found if total is None else total.add_(found)
    assert total is not None
    return total.flatten(0, 1)


def over_map(value: Value, how: str) -> Tensor:
    """(P·Q, *lead): the mean, sum or maximum of every window's map."""
    total: Tensor | None = None
    join = torch.maximum if how == "max" else torch.add
    for (r, c), piece in value.pieces.items():
        dilation, stride = _spans(value.grids, value.axes, (r, c))
        made = separably(Block(piece, stride, dilation, (None, None)), (r.count, c.count), join)
        found = _per_window(made)
        total = found if total is None else join(total, found)
    assert total is not None
    total = total / (value.axes[0].n * value.axes[1].n) if how == "mean" else total
    return total.flatten(0, 1)


def _spans(grids: Grids, axes: Axes, pair: Pair) -> tuple[Steps, Steps]:
    """Dilation and stride of a window as large as a part: from position to position, from window to window."""
    dilation = [grid.spread(axis) if part.dense else 1 for grid, axis, part in zip(grids, axes, pair, strict=True)]
    stride = [grid.hop(axis) if part.dense else 1 for grid, axis, part in zip(grids, axes, pair, strict=True)]
    return (max(dilation[0], 1), max(dilation[1], 1)), (stride[0], stride[1])


def _per_window(made: Tensor) -> Tensor:
    """(P, Q, *lead) from a piece that has one value a window: (1 or P, 1 or Q, R, S, *lead)."""
    return made.movedim(2, 1).flatten(0, 1).flatten(1, 2)


def channels_first(x: Tensor) -> Tensor:
    """(B, *lead, R, S) for torch's own operations: a view, channels last in memory."""
    return x.flatten(0, 1).movedim((1, 2), (-2, -1))


def channels_last(x: Tensor, windows: torch.Size) -> Tensor:
    """Back to a piece."""
    return x.movedim((-2, -1), (1, 2)).unflatten(0, tuple(windows))
