"""Heatmap: image, signed map and overlay side by side, one row an image, all maps on one stated scale.

The map is the values summed over input channels. Red raises the target, blue lowers it, white does nothing. So that one
extreme pixel does not pale all others, the scale ends at the 99.5 % quantile of |map|; what lies beyond is drawn in the end
colours, and the largest value is stated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from convscope.draw import colours, raster, words
from convscope.draw.listing import Column, Listing
from convscope.results import Heatmap

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 8  # rows in a figure
COVERAGE = 0.995
COLUMNS = (
    Column("image", right=True),
    Column("target", meaning="what the image was asked about"),
    Column("score", right=True, meaning="the target's value"),
    Column("lowest", right=True, rank=2),
    Column("highest", right=True, rank=1),
    Column("sum", right=True, rank=3, meaning="sum over the whole map"),
    Column("positive", right=True, rank=4, meaning="share of the sum of |map| that is positive"),
)


def figure(result: Heatmap) -> Figure:
    from convscope.draw.paper import FAINT, Paper, fitted

    maps = result.map
    drawn = min(len(maps), MOST)
    height, width = maps.shape[1:]
    panel = 2.1 if drawn == 1 else 1.7
    wide, high = (panel, panel * height / width) if width >= height else (panel * width / height, panel)
    step = high + 0.36
    limit = colours.limit(maps, COVERAGE)
    notes = [_proof(result), words.shown(drawn, len(maps), "images"), *result.notes, words.origin(result.origin)]
    head = f"{result.targets[0]}, score {words.number(result.scores[0])}" if len(maps) == 1 else f"{len(maps)} images"
    paper = Paper.of(3 * wide + 0.2 + 0.75, max(step * drawn, 1.4) + 0.1, head, scale(result), [n for n in notes if n])
    for column, name in enumerate(("image", "map", "map over image")):
        paper.text(column * (wide + 0.1) + wide / 2, 0.1, name, size=7.5, colour=FAINT, ha="center")
    for i in range(drawn):
        top = 0.24 + i * step
        panels = (result.images[i], colours.diverging(maps[i], limit), raster.heat_over(result.images[i], maps[i], limit))
        for column, rgb in enumerate(panels):
            ax = paper.picture(rgb, column * (wide + 0.1), top, wide, high)
            for spine in ax.spines.values():
                spine.set_visible(True)
        if len(maps) > 1:
            below = f"{result.targets[i]}, score {words.number(result.scores[i])}"
            paper.text(0, top + high + 0.1, fitted(below, 3 * wide, 7.5), size=7.5)
    if drawn:
        paper.colour_bar(colours.DIVERGING, 3 * wide + 0.35, 0.24, high, -limit, limit)
    return paper.figure


def renderable(result: Heatmap) -> Listing:
    maps = result.map
    above, below = np.nansum(maps, axis=(1, 2), where=maps > 0), np.nansum(maps, axis=(1, 2), where=maps < 0)
    ends = np.array([colours.bounds(one) for one in maps]).reshape(-1, 2)
    positive = [f"{100 * a / (a - b):.0f} %" if a > b else "–" for a, b in zip(above, below, strict=True)]
    columns = (map(str, range(len(maps))), result.targets, words.aligned(result.scores), words.aligned(ends[:, 0]),
               words.aligned(ends[:, 1]), words.aligned(above + below), positive)
    missing = int(np.isnan(maps).sum())
    count, channels, height, width = result.values.shape
    title = f"heatmap  {count} × {height}×{width} pixels" + (f", {channels} channels summed" if channels > 1 else "")
    without = f"{words.plural(missing, 'pixel')} without a number, left out" if missing else ""
    notes = [f"in {result.unit}", without, _proof(result), *result.notes, words.origin(result.origin)]
    return Listing(title, COLUMNS, list(zip(*columns, strict=True)), notes=tuple(n for n in notes if n))


def html(result: Heatmap) -> str:
    from convscope.draw import paper

    return paper.html(figure(result), "signed heat maps: " + "; ".join(result.targets[:MOST]), renderable(result))


def scale(result: Heatmap) -> str:
    """The words that state the scale: 'scale ±0.84 score per input unit, shared by all maps; largest |value| 1.3'."""
    limit, largest = colours.limit(result.map, COVERAGE), colours.limit(result.map)
    shared = ", shared by all maps" if len(result.map) > 1 else ""
    beyond = f"; |values| beyond it (largest {largest:.3g}) saturate" if largest > limit else ""
    missing = "; hatched: no number" if np.isnan(result.values).any() else ""
    return f"scale ±{limit:.3g} {words.clean(result.unit)}{shared}{beyond}{missing}"


def _proof(result: Heatmap) -> str:
    return f"proof: {words.pairs(result.proof)}" if result.proof else ""
