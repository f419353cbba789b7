"""What is shown of a worked-out number: sums of products laid out as they lie in the layer, and grids of numbers.

A sum of products Σ left·right is cut into parts: the terms that share all indices of the left factor but its last two (a
channel of a window, say). Where the terms of a part fill a rectangle, they become three panels of one size,

    left (h, w)   ×   right (h, w)   =   products (h, w)

each cell under the one that it is multiplied with; the parts with the largest Σ|product| come first. Their names are indices
into the whole arrays: `weight[7, 1, 4…0, 4…0]` counts down, since that kernel is read flipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convscope.draw import colours
from convscope.draw.words import clean
from convscope.results import Grid, Steps, Terms

ROUNDING = 1e-10  # ours and autograd's number may differ by this much, relative to max(1, |number|)


@dataclass(frozen=True)
class Panel:
    """A rectangle of numbers and what is to be said of its cells."""

    name: str  # 'x[0][3, 14…18, 23…27]'
    values: NDArray[Any]  # (h, w)
    marked: NDArray[np.bool_]  # (h, w) cells in play
    outside: NDArray[np.bool_]  # (h, w) cells in the padding
    limit: float  # the scale of its colours ends at ± this
    part: str = ""  # 'rows 4–11 of 28, columns 0–7 of 28' where not all of it is shown

    def cut(self, rows: slice, columns: slice) -> Panel:
        """A part of it, which says of what."""
        (h, w), at = self.values.shape, (rows, columns)
        pieces = [f"{what} {s.start + 1}–{s.stop} of {n}" for what, s, n in (("rows", rows, h), ("columns", columns, w))
                  if s.stop - s.start < n]
        return replace(self, values=self.values[at], marked=self.marked[at], outside=self.outside[at],
                       part=", ".join(pieces))

    def focused(self, side: int) -> Panel:
        """At most `side` rows and columns of it, around what is marked or, if nothing is, around the largest number."""
        sizes = np.abs(np.where(np.isfinite(self.values), self.values, 0))
        if self.marked.any():
            ys, xs = np.nonzero(self.marked)
            middle = np.zeros(sizes.shape)
            middle[(ys.min() + ys.max()) // 2, (xs.min() + xs.max()) // 2] = 1
            sizes = middle
        where = around(sizes, side, side)
        return self if where is None else self.cut(*where)


@dataclass(frozen=True)
class Part:
    """Some terms of a sum as three panels of one size."""

    panels: tuple[Panel, Panel, Panel]  # left, right, products
    total: float  # of its products
    weight: float  # Σ|product|

    def cut(self, rows: int, columns: int) -> Part:
        """At most so many rows and columns of it, around its largest product."""
        where = around(np.abs(self.panels[2].values), rows, columns)
        return self if where is None else replace(self, panels=tuple(p.cut(*where) for p in self.panels))


def parts(terms: Terms | None, grids: Sequence[Grid] = ()) -> list[Part]:
    """The parts of a sum, the largest Σ|product| first; none where the terms do not fill rectangles.

    >>> terms = Terms("x", "w", np.array([[0], [1]]), np.array([[1], [0]]), np.array([2.0, 3.0]), np.array([5.0, 7.0]))
    >>> [[p.name for p in part.panels] for part in parts(terms)]
    [['x[0…1]', 'w[1…0]', 'products']]
    """
    if terms is None or not terms.left_at.size or len(terms.left_values) < 2:
        return []
    axes = 2 if terms.left_at.shape[1] > 2 else 1
    of = np.unique(terms.left_at[:, :-axes], axis=0, return_inverse=True)[1].reshape(-1)
    order = np.lexsort((*terms.left_at[:, ::-1].T[:axes], of))
    groups = np.split(order, np.flatnonzero(np.diff(of[order])) + 1)
    if all(len(group) == 1 for group in groups):
        return []
    rectangles = [_rectangle(terms.left_at[group, -axes:]) for group in groups]
    if any(size is None for size in rectangles):
        return []
    wholes = [_whole(grids, terms.left_values), _whole(grids, terms.right_values)]
    limits = [colours.limit(v) for v in (terms.left_values, terms.right_values, products(terms))]
    found = [_part(terms, group.reshape(size), wholes, limits)
             for group, size in zip(groups, rectangles, strict=True) if size is not None]
    return sorted(found, key=lambda part: -part.weight)


def other_grids(result: Steps) -> list[Grid]:
    """The grids that the parts of the sum do not show already."""
    shown = parts(result.terms, result.grids)
    return [grid for grid in result.grids if grid.values.size and not (shown and _covered(grid, result.terms))]


def counted(terms: Terms) -> str:
    """What the parts are: the indices before the last two count images, channels, or something else.

    >>> at = np.zeros((1, 3), int)
    >>> counted(Terms("x[0]", "w", at, at, np.ones(1), np.ones(1)))
    'channels'
    """
    axes = terms.left_at.shape[1]
    if axes == 4:
        several = [len(np.unique(terms.left_at[:, axis])) > 1 for axis in (0, 1)]
        return "maps" if all(several) else "images" if several[0] else "channels"
    return "channels" if axes == 3 and terms.left.endswith("]") else "parts"


def around(sizes: NDArray[Any], rows: int, columns: int) -> tuple[slice, slice] | None:
    """The `rows` × `columns` cells around the largest; None if there are no more than that."""
    h, w = sizes.shape
    if h <= rows and w <= columns:
        return None
    y, x = np.unravel_index(int(np.nan_to_num(sizes).argmax()), sizes.shape)
    top = int(np.clip(y - rows // 2, 0, max(h - rows, 0)))
    left = int(np.clip(x - columns // 2, 0, max(w - columns, 0)))
    return slice(top, min(top + rows, h)), slice(left, min(left + columns, w))


def agrees(result: Steps) -> bool:
    """Are our number and autograd's the same but for rounding?"""
    return result.value == result.check or result.difference <= ROUNDING * max(1.0, abs(result.value))


def products(terms: Terms) -> NDArray[Any]:
    """(n,) left·right; ∞ · 0 is NaN, and is shown as such."""
    with np.errstate(invalid="ignore", over="ignore"):
        return terms.products


def total(values: NDArray[Any]) -> float:
    """Their sum; ∞ − ∞ is NaN, and is shown as such."""
    with np.errstate(invalid="ignore", over="ignore"):
        return float(values.sum())


def place(index: Any) -> str:
    """An index as words: '3, 16, 25'."""
    return ", ".join(str(int(i)).replace("-", "−") for i in index)


def _rectangle(places: NDArray[Any]) -> tuple[int, int] | None:
    """(h, w) if the sorted places (n, 1 or 2) are all crossings of some rows and some columns."""
    sizes = [len(np.unique(places[:, axis])) for axis in range(places.shape[1])]
    if int(np.prod(sizes)) != len(places) or len(np.unique(places, axis=0)) != len(places):
        return None
    return (1, sizes[0]) if len(sizes) == 1 else (sizes[0], sizes[1])


def _part(terms: Terms, lie: NDArray[Any], wholes: Sequence[tuple[int, ...]], limits: Sequence[float]) -> Part:
    """Three panels from the numbers of the terms as they lie (h, w)."""
    none = np.zeros(lie.shape, bool)
    factors = ((terms.left, terms.left_at, terms.left_values), (terms.right, terms.right_at, terms.right_values))
    panels = [Panel(clean(name) + _indices(at[lie]), values[lie], none, _outside(at[lie], whole), limit)
              for (name, at, values), whole, limit in zip(factors, wholes, limits, strict=False)]
    made = products(terms)[lie]
    outside = panels[0].outside | panels[1].outside
    return Part((panels[0], panels[1], Panel("products", made, none, outside, limits[2])), total(made), total(np.abs(made)))


def _indices(at: NDArray[Any]) -> str:
    """'[3, 14…18, 23…27]' for the indices (h, w, axes) of a rectangle; '…' for an axis that follows neither side."""
    said: list[str] = []
    for axis in range(at.shape[2]):
        index = at[:, :, axis]
        if (index == index[0, 0]).all():
            said.append(place(index[0, :1]))
        elif (index == index[:1]).all() or (index == index[:, :1]).all():
            said.append(_span(index[0] if (index == index[:1]).all() else index[:, 0]))
        else:
            said.append("…")
    return f"[{', '.join(said)}]" if said else ""


def _span(index: NDArray[Any]) -> str:
    steps = set(np.diff(index).tolist())
    step = f" by {abs(steps.pop())}" if len(steps) == 1 and not steps & {1, -1} else ""
    return f"{place(index[:1])}…{place(index[-1:])}{step}"


def _outside(at: NDArray[Any], whole: tuple[int, ...]) -> NDArray[np.bool_]:
    """Which places (…, axes) lie in the padding: before the first number or, where the size is known, behind the last."""
    before: Any = at < 0
    axes = min(len(whole), 2)  # groups of channels are counted from elsewhere
    behind: Any = at[..., -axes:] >= np.array(whole[-axes:]) if axes else before
    return before.any(axis=-1) | behind.any(axis=-1)


def _covered(grid: Grid, terms: Terms | None) -> bool:
    """Are the numbers of this grid one factor of the terms, in order?"""
    if terms is None:
        return False
    flat = np.ravel(grid.values)
    return any(flat.size == side.size and np.array_equal(flat, side) for side in (terms.left_values, terms.right_values))


def _whole(grids: Sequence[Grid], factors: NDArray[Any]) -> tuple[int, ...]:
    """The size of the array that these factors come from, where a grid of the same numbers knows it."""
    for grid in grids:
        if grid.whole and grid.values.size == factors.size and np.array_equal(np.ravel(grid.values), factors):
            return grid.whole
    return ()


def channels(grid: Grid, terms: Terms | None = None) -> list[Panel]:
    """A grid of any rank as panels (h, w), those with most in play first."""
    if not np.ndim(grid.values):
        grid = replace(grid, values=np.reshape(grid.values, 1), start=(), step=(), marked=((0,),) if grid.marked else ())
    values, shape = np.atleast_2d(grid.values), np.shape(grid.values)
    play = _in_play(grid, terms)
    for cell in grid.marked:
        play[cell] = max(play[cell], 1e-300)  # marked, whatever its share
    play = np.atleast_2d(play).reshape(-1, *values.shape[-2:])
    start = np.array(grid.start or (0,) * len(shape), np.int64)
    step = np.array(grid.step or (1,) * len(shape), np.int64)
    at = (np.moveaxis(np.indices(shape), 0, -1) * step + start).reshape(-1, *values.shape[-2:], len(shape))
    flat = values.reshape(-1, *values.shape[-2:])
    sizes = play.sum(axis=(1, 2)) if play.any() else np.nansum(np.abs(np.where(np.isfinite(flat), flat, 0)), axis=(1, 2))
    named = bool(grid.start) or len(flat) > 1
    return [Panel(clean(grid.name) + (_indices(at[c]) if named else ""), flat[c], play[c] > 0, _outside(at[c], grid.whole),
                  colours.limit(flat)) for c in np.argsort(-sizes, kind="stable")]


def _in_play(grid: Grid, terms: Terms | None) -> NDArray[Any]:
    """|product| of the term that takes each number of the grid, 0 where none does."""
    play = np.zeros(np.shape(grid.values))
    if terms is None or not grid.start:
        return play
    for at, values in ((terms.left_at, terms.left_values), (terms.right_at, terms.right_values)):
        if not values.size or at.shape[1] != play.ndim:
            continue
        cells = (at - np.array(grid.start)) // np.array(grid.step or (1,) * play.ndim)
        inside = ((cells >= 0) & (cells < play.shape)).all(axis=1)
        if inside.all() and np.array_equal(grid.values[tuple(cells.T)], values):
            np.maximum.at(play, tuple(cells.T), np.abs(products(terms)) + 1e-300)
            break
    return play
