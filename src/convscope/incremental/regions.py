"""Which part of a map can change? Rectangles along two axes, one for each of P changes, all of one size.

A change that covers the inputs a … b of a window operation (kernel k, stride s, padding p, dilation d) can reach the outputs

    ⌈(a + p − d·(k − 1))/s⌉ … ⌊(b + p)/s⌋,   clipped to 0 … out − 1

The rectangles of a group get the size of the largest among them: their starts are moved inwards at the border, so that some
positions are computed again that cannot have changed, which is harmless. `tight` sizes are kept beside, to say how much
arithmetic an exact method must do at least.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convscope.geometry import Window

Whole = NDArray[np.int64]


@dataclass(frozen=True)
class Span:
    """Along one axis: positions `start[i] … start[i] + size − 1` of change i, of which `first[i] … last[i]` can differ."""

    start: Whole  # (P,)
    size: int
    first: Whole  # (P,)
    last: Whole  # (P,)

    @classmethod
    def of(cls, first: Any, last: Any, n: int) -> Span:
        """The common size of the intervals first … last on an axis of n positions, starts moved inwards.

        >>> Span.of([0, 8], [3, 9], 10).start.tolist()
        [0, 6]
        """
        a = np.clip(np.asarray(first, np.int64), 0, n - 1)
        b = np.clip(np.asarray(last, np.int64), a, n - 1)
        size = int((b - a).max()) + 1
        return cls(np.minimum(a, n - size), size, a, b)

    def through(self, window: Window, out: int) -> Span:
        """What the next operation's outputs can see of it; where nothing reads the change, one position stands for it."""
        reach = window.dilation * (window.kernel - 1)
        first = -(-(self.first + window.padding - reach) // window.stride)
        return Span.of(first, (self.last + window.padding) // window.stride, out)

    def hull(self, other: Span, n: int) -> Span:
        """The smallest span that holds both."""
        return Span.of(np.minimum(self.first, other.first), np.maximum(self.last, other.last), n)

    def tight(self) -> Whole:
        """(P,) how many positions can differ."""
        return self.last - self.first + 1


@dataclass(frozen=True)
class Region:
    """A rectangle for each of P changes, on the dimensions `dims` of a tensor (2, 3 for B×C×H×W)."""

    y: Span
    x: Span
    dims: tuple[int, int] = (2, 3)

    def moved(self, by: Whole) -> Region:
        """The rectangles further down and to the right, by (P, 2) positions; they may leave the map."""
        y, x = (Span(s.start + n, s.size, s.first + n, s.last + n) for s, n in zip((self.y, self.x), by.T, strict=True))
        return Region(y, x, self.dims)

    def covers(self, height: int, width: int) -> float:
        """The share of the map that is computed again, 0 … 1."""
        return self.y.size * self.x.size / (height * width)

    def hull(self, other: Region, sizes: tuple[int, int]) -> Region:
        return Region(self.y.hull(other.y, sizes[0]), self.x.hull(other.x, sizes[1]), self.dims)

    def same(self, other: Region) -> bool:
        """Do both name the same rectangles?"""
        mine, theirs = (self.y, self.x), (other.y, other.x)
        return all(a.size == b.size and np.array_equal(a.start, b.start) for a, b in zip(mine, theirs, strict=True))

    def tight(self) -> float:
        """Positions that can differ, on average over the changes."""
        return float((self.y.tight() * self.x.tight()).mean())


def groups(tops: Whole, lefts: Whole, sizes: tuple[int, int], most: int) -> list[Whole]:
    """Changes (by number) in groups of at most `most`, such that those of a group lie about equally near to a border.

    Regions at a border are cut there; a group has the size of its largest. So rows of changes are sorted by their distance
    to the nearer border and cut into runs, columns likewise, and a group is a run of rows times a run of columns.
    """
    side = max(1, int(np.sqrt(most)))
    rows, columns = (_runs(values, n, side) for values, n in zip((tops, lefts), sizes, strict=True))
    cells: dict[tuple[int, int], list[int]] = {}
    for i, cell in enumerate(zip(rows[0].tolist(), columns[0].tolist(), strict=True)):
        cells.setdefault(cell, []).append(i)
    found: list[Whole] = []
    for members in cells.values():
        found += [np.array(members[a : a + most]) for a in range(0, len(members), most)]
    return found


def _runs(values: Whole, n: int, side: int) -> tuple[Whole, int]:
    """Which run each value is in: distinct values sorted by distance to the border, `side` of them a run."""
    distinct = np.unique(values)
    order = np.argsort(np.minimum(distinct, n - distinct), kind="stable")
    count = -(-len(distinct) // side)
    each = -(-len(distinct) // count)
    run = np.empty(len(distinct), np.int64)
    run[order] = np.arange(len(distinct)) // each
    return run[np.searchsorted(distinct, values)], count
