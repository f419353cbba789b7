"""A Picture whose tiles are the cells of a grid: one drawing without gaps, what each cell stands for written on it, and how
many things lie in each cell beside it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from convscope.draw import colours, raster, words
from convscope.results import Picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIDE, LARGEST = 7.2, 0.9  # inches: of the drawing, and of a cell
COARSE = 24  # px: cells of fewer have a line between them
READABLE = 0.45  # inches: smaller cells carry no words


def is_grid(result: Picture) -> bool:
    """Are the units called 'row,column' throughout, in order?"""
    across = result.columns
    return across > 0 and result.units == tuple(f"{i // across},{i % across}" for i in range(len(result.units)))


def figure(result: Picture) -> Figure:
    from matplotlib.patheffects import withStroke

    from convscope.draw.paper import INK, Paper, fitted

    count, columns = len(result.tiles), result.columns
    rows = -(-count // columns)
    high, wide = result.tiles.shape[1:3]
    cell = min(LARGEST, SIDE / columns)
    tall = cell * high / wide
    density = result.values.get("count")
    beside = 0.0 if density is None else 2.9
    across = columns * cell + beside
    drawn = count if density is None else int((result.tiles != 255).any(axis=(1, 2, 3)).sum())
    below = f"{drawn} of {count} cells drawn, each {wide}×{high} px · neighbours are alike; the axes have no meaning"
    notes = [n for n in (*result.notes, words.origin(result.origin)) if n]
    paper = Paper.of(across, max(rows * tall, 2.2 if beside else 0), result.title, below, notes)
    ax = paper.picture(raster.sheet(result.tiles, columns, gap=0), 0, 0, columns * cell, rows * tall)
    for spine in ax.spines.values():
        spine.set_visible(True)
    if wide < COARSE:  # a few pixels, in which the eye would find no border
        for row in range(1, rows):
            ax.axhline(row * high - 0.5, color="white", linewidth=1)
        for column in range(1, columns):
            ax.axvline(column * wide - 0.5, color="white", linewidth=1)
    named = result.values.get("class")
    if named is not None and cell >= READABLE:
        outline = [withStroke(linewidth=1.6, foreground="white")]
        for i, name in enumerate(named):
            x, y = i % columns * cell + cell / 2, i // columns * tall + tall - 0.07
            short = words.clean(str(name)).partition(",")[0]
            paper.text(x, y, fitted(short, cell, 5.5), size=5.5, ha="center", path_effects=outline)
    if density is not None:
        left, side = columns * cell + 0.4, 1.9
        numbers = np.where(np.asarray(density) > 0, density, np.nan).astype(float)
        grid = np.full(rows * columns, np.nan)
        grid[:count] = numbers
        low, top = colours.bounds(grid)
        paper.text(left, 0.06, "how many lie in each cell", size=7.5, colour=INK)
        shown = colours.sequential(grid.reshape(rows, columns), low, top)
        paper.picture(shown, left, 0.2, side, side * rows * tall / (columns * cell))
        paper.colour_bar(colours.SEQUENTIAL, left + side + 0.1, 0.2, side * rows * tall / (columns * cell), low, top)
    return paper.figure
