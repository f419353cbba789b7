"""Picture: a sheet of tiles, one a unit, each with its caption; the scale of the colours is stated and drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from convscope.draw import _mosaic, colours, raster, words
from convscope.draw.listing import Column, Listing
from convscope.errors import ShapeError, UsageError
from convscope.results import Picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 144  # tiles in a figure
ROWS = 60  # rows in a text


def figure(result: Picture) -> Figure:
    from convscope.draw.paper import FAINT, Paper, fitted

    if _mosaic.is_grid(result):
        return _mosaic.figure(result)
    whole = max(MOST // result.columns, 1) * result.columns if result.columns else MOST  # of rows that mean something
    count, drawn = len(result.tiles), min(len(result.tiles), whole)
    notes = [words.shown(drawn, count, "tiles"), *result.notes, words.origin(result.origin)]
    notes = [n for n in notes if n]
    if not drawn:
        return Paper.of(4, 0.3, result.title or "picture", "there are no tiles", notes).figure
    rgb, stated = colour(result)
    height, width = rgb.shape[1:3]
    cell = 2.0 if drawn <= 3 else 1.5 if drawn <= 12 else 0.95 if drawn <= 48 else 0.62  # inches, the longer side of a tile
    if result.columns:
        cell = min(1.0, max(0.4, 7.0 / result.columns - 0.06))
    wide, high = (cell, cell * height / width) if width >= height else (cell * width / height, cell)
    columns = min(drawn, result.columns or max(1, int(7.6 / (wide + 0.06))))
    rows = -(-drawn // columns)
    prefix, captions = _captions(result)
    heads, sides, captions = _heads(result, captions) if result.columns else ([], [], captions)
    prefix = words.clean(next(iter(result.values), "")) if heads else prefix
    left, top = (0.09 * max(map(len, sides)), 0.2) if heads else (0.0, 0.0)
    folded = any(fitted(c, wide, 6.5) != c and " · " in c for c in captions[:drawn])  # names, and their numbers below
    step = high + (0.31 if folded else 0.2)
    bar = result.scale == "shared"
    drawing = columns * (wide + 0.06)
    below = f"{words.plural(count, 'tile')} of {_size(result)} · {stated}" + (f" · below each: {prefix}" if prefix else "")
    across = left + drawing + (0.7 if bar else 0)
    paper = Paper.of(across, top + rows * step, result.title or "picture", below, notes)
    ax = paper.axes(left, top, drawing, rows * step)
    for i, name in enumerate(heads):
        place = left + i * (wide + 0.06) + wide / 2
        paper.text(place, 0.09, fitted(name, wide + 0.06, 6.5), size=6.5, weight="bold", ha="center")
    for i, name in enumerate(sides[:rows]):
        paper.text(0, top + i * step + high / 2, name, size=7, weight="bold")
    enlarged = width < wide * 200  # pictures are saved with 200 dots an inch
    for i in range(drawn):
        x, y = i % columns * (wide + 0.06), i // columns * step
        ax.imshow(rgb[i], extent=(x, x + wide, y + high, y), interpolation="nearest" if enlarged else "antialiased")
        for down, line in enumerate(captions[i].rsplit(" · ", 1) if folded else [captions[i]]):
            place = top + y + high + 0.09 + 0.11 * down
            paper.text(left + x + wide / 2, place, fitted(line, wide, 6.5), size=6.5, colour=FAINT, ha="center")
    ax.set(xlim=(0, drawing), ylim=(rows * step, 0), aspect="auto")
    if bar:
        low, high_end = _ends(result)
        tall = min(rows * step - 0.2, 2.2)
        scale = colours.DIVERGING if result.signed else colours.SEQUENTIAL
        paper.colour_bar(scale, left + drawing + 0.1, top, tall, low, high_end)
    return paper.figure


def renderable(result: Picture) -> Listing:
    columns = [Column("unit"), Column("lowest", right=True, rank=len(result.values) + 1),
               Column("highest", right=True, rank=len(result.values) + 2)]
    columns[1:1] = [Column(words.clean(name), right=True, rank=i + 1) for i, name in enumerate(result.values)]
    ends = np.array([colours.bounds(tile) for tile in result.tiles[:ROWS]]).reshape(-1, 2)
    first = [v[:ROWS] for v in result.values.values()]
    values = [words.aligned(v) if np.asarray(v).dtype.kind in "biuf" and np.ndim(v) == 1 else [words.value(x) for x in v]
              for v in first]
    rows = list(zip(result.units[:ROWS], *values, words.aligned(ends[:, 0]), words.aligned(ends[:, 1]), strict=True))
    stated = colour(result)[1] if len(result.tiles) else "there are no tiles"
    left = f"{len(rows)} of {len(result.tiles):,} tiles listed; .npz holds all" if len(rows) < len(result.tiles) else ""
    notes = (stated, left, *result.notes, words.origin(result.origin))
    title = f"{result.title or 'picture'}  {words.plural(len(result.tiles), 'tile')} of {_size(result)}"
    return Listing(title, tuple(columns), rows, notes=tuple(n for n in notes if n))


def html(result: Picture) -> str:
    from convscope.draw import paper

    return paper.html(figure(result), f"{len(result.tiles)} tiles: {result.title}", renderable(result))


def colour(result: Picture) -> tuple[NDArray[np.uint8], str]:
    """All tiles as (U, h, w, 3) uint8, and the words that state their scale."""
    tiles = result.tiles
    if result.scale not in ("shared", "each", "rgb"):
        raise UsageError(f"a picture's scale is {result.scale!r}", "", "use 'shared', 'each' or 'rgb'")
    ranks = (4,) if result.scale == "rgb" else (3,)
    if tiles.ndim not in ranks or (result.scale == "rgb" and (tiles.shape[3] != 3 or tiles.dtype != np.uint8)):
        wanted = "(U, h, w, 3) uint8" if result.scale == "rgb" else "(U, h, w)"
        raise ShapeError(f"tiles of scale {result.scale!r} must be {wanted}", f"got {tiles.shape} {tiles.dtype}",
                         "set the scale that the tiles have")
    if result.scale == "rgb":
        return tiles, "colours as they are"
    rgb, stated = raster.paint(tiles, signed=result.signed, each=result.scale == "each")
    return rgb, stated + ("; hatched: no number" if tiles.dtype.kind == "f" and np.isnan(tiles).any() else "")


def _ends(result: Picture) -> tuple[float, float]:
    if result.signed:
        limit = colours.limit(result.tiles)
        return -limit, limit
    return colours.bounds(result.tiles)


def _size(result: Picture) -> str:
    return "×".join(map(str, result.tiles.shape[1:3]))


def _heads(result: Picture, captions: list[str]) -> tuple[list[str], list[str], list[str]]:
    """Where units are called 'ROW COLUMN' throughout: the columns' names, the rows' names, and what is left below a tile.

    Else no names, and the captions as they are.
    """
    pairs = [words.clean(u).rpartition(" ")[::2] for u in result.units]
    heads, sides = [c for _, c in pairs[: result.columns]], [r for r, _ in pairs[:: result.columns]]
    if not all(sides) or pairs != [(r, c) for r in sides for c in heads]:
        return [], [], captions
    return heads, sides, [c.rpartition(" · ")[2] if " · " in c else "" for c in captions]


def _captions(result: Picture) -> tuple[str, list[str]]:
    """The layer, if all units are of one, and what each caption has of its own, with its first value."""
    units = [words.clean(u) for u in result.units]
    layers = {u.rpartition("/")[0] for u in units}
    if len(units) < 2 or "" in layers:
        prefix = ""
    elif len(layers) == 1:
        prefix = f"{layers.pop()}/"
    else:  # the module that all layers lie in
        paths = [layer.split(".") for layer in layers]
        shared = [parts[0] for parts in zip(*paths, strict=False) if len(set(parts)) == 1]
        inside = shared and all(p[: len(shared)] == shared and len(p) > len(shared) for p in paths)
        prefix = ".".join(shared) + "." if inside else ""
    values: NDArray[Any] | None = next(iter(result.values.values()), None)
    own = [u[len(prefix):] for u in units]
    if values is not None and np.ndim(values) == 1:
        own = [f"{u} · {words.number(v, 3)}" for u, v in zip(own, values, strict=True)]
        return f"{prefix}unit and {words.clean(next(iter(result.values)))}", own
    return f"{prefix}unit" if prefix else "", own
