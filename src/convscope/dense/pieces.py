"""A layer's values for all windows of a tile: one piece for each pair of parts of its two axes.

A piece is a tensor (By, Bx, R, S, *lead): `lead` is usually (C,), last in memory as convolutions like it best.

    both axes dense          (1, 1, R, S, C)        one map that all windows share
    rows kept per window     (P, 1, r, S, C)        r positions near the upper or lower frame
    columns kept per window  (1, Q, R, s, C)
    both                     (P, Q, r, s, C)        the corners

`gather` takes any run of positions out of the pieces, unrolled or shared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from convscope.dense.axes import Axis, Grid, Part

Axes = tuple[Axis, Axis]
Grids = tuple[Grid, Grid]
Pair = tuple[Part, Part]
ROWS, COLUMNS = 2, 3  # where the map's axes are in a piece; the windows' axes are two before


@dataclass(frozen=True)
class Value:
    """What a layer gives, piece by piece."""

    axes: Axes
    grids: Grids
    pieces: dict[Pair, Tensor]

    @property
    def lead(self) -> tuple[int, ...]:
        return tuple(next(iter(self.pieces.values())).shape[4:])

    def each(self, change: Callable[[Tensor], Tensor]) -> Value:
        """The same operation on every piece."""
        return replace(self, pieces={pair: change(piece) for pair, piece in self.pieces.items()})

    def gather(self, rows: Part, columns: Part) -> Tensor:
        """(By, Bx, R, S, *lead): the positions of `rows` × `columns`, which must lie in the map."""
        lines: list[Tensor] = []
        for across in _within(self.axes[0], rows):
            line = [self._taken(across, down) for down in _within(self.axes[1], columns)]
            lines.append(line[0] if len(line) == 1 else torch.cat(line, COLUMNS))
        return lines[0] if len(lines) == 1 else torch.cat(lines, ROWS)

    def _taken(self, across: tuple[Part, Part], down: tuple[Part, Part]) -> Tensor:
        found = self.pieces[across[0], down[0]]
        for axis, (held, wanted) in enumerate((across, down)):
            found = _slice(found, self.grids[axis], self.axes[axis], axis, (held, wanted))
        return found

    def cut(self, axes: Axes) -> Value:
        """The same values in the parts of other axes, which feel the frame as far or farther."""
        if axes[0].parts == self.axes[0].parts and axes[1].parts == self.axes[1].parts:
            return replace(self, axes=axes)
        pairs = [(r, c) for r in axes[0].parts for c in axes[1].parts]
        return Value(axes, self.grids, {pair: self.gather(*pair) for pair in pairs})

    def rows(self) -> Tensor:
        """(P·Q, *lead, h, w): every window's own map, as the network itself would hold it."""
        whole = self.gather(*(Part(False, 0, axis.n) for axis in self.axes))
        return whole.flatten(0, 1).movedim((1, 2), (-2, -1))


def _within(axis: Axis, wanted: Part) -> list[tuple[Part, Part]]:
    """Which parts hold the wanted positions, and which of them each holds."""
    found: list[tuple[Part, Part]] = []
    for held in axis.parts:
        first, stop = max(held.first, wanted.first), min(held.stop, wanted.stop)
        if first < stop:
            found.append((held, Part(wanted.dense, first, stop)))
    assert not wanted.dense or (len(found) == 1 and found[0][0].dense), "a shared run must lie in the shared part"
    return found


def _slice(piece: Tensor, grid: Grid, axis: Axis, which: int, parts: Pair) -> Tensor:
    """Positions of a piece along one axis, a view."""
    held, wanted = parts
    at, begin = ROWS + which, wanted.first - held.first
    if not held.dense:
        return piece.narrow(at, begin, wanted.count)
    spread, hop = grid.spread(axis), grid.hop(axis)
    if wanted.dense:
        return piece.narrow(at, begin * spread, grid.length(axis, wanted.count))
    size, stride = list(piece.shape), list(piece.stride())
    offset = piece.storage_offset() + begin * spread * stride[at]
    size[which], stride[which] = grid.count, hop * stride[at]
    size[at], stride[at] = wanted.count, spread * stride[at]
    return piece.as_strided(size, stride, offset)


def of_image(x: Tensor, size: tuple[int, int], grids: Grids) -> Value:
    """A tile (C, H, W) of the image: the map of a layer that has done nothing yet."""
    axes = (Axis(size[0]), Axis(size[1]))
    pair = (axes[0].parts[0], axes[1].parts[0])
    high, wide = (grid.length(axis, axis.n) for grid, axis in zip(grids, axes, strict=True))
    shared = x[:, :high, :wide].permute(1, 2, 0).contiguous()
    return Value(axes, grids, {pair: shared[None, None]})


def concatenated(values: Sequence[Value], axes: Axes, at: int) -> Value:
    """Values joined along a leading axis (`at` counts from the first of them)."""
    alike = [value.cut(axes) for value in values]
    return replace(alike[0], pieces={pair: torch.cat([value.pieces[pair] for value in alike], 4 + at)
                                     for pair in alike[0].pieces})
