"""Cloud: points in a plane, coloured by class. One length on both axes, so that distances look as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from convscope.draw import colours, words
from convscope.draw.listing import Column, Listing
from convscope.results import Cloud

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MARKS = ("o", "^", "s", "D", "v", "P")  # after eight classes the colours come again with another mark
MOST = len(MARKS) * len(colours.CLASSES)  # classes that can be told apart; the others are drawn grey
COLUMNS = (Column("class"), Column("points", right=True), Column("share", right=True, rank=2),
           Column("centre", right=True, rank=1, meaning="mean of the points"),
           Column("spread", right=True, rank=3, meaning="root mean square distance from the centre"))


def figure(result: Cloud) -> Figure:
    from matplotlib.lines import Line2D

    from convscope.draw.paper import FAINT, Paper, fitted, graph_axes

    groups = _groups(result)
    side = 5.2
    extent = np.ptp(result.points, axis=0) if len(result.points) else np.ones(2)
    tall = side * float(np.clip(extent[1] / extent[0] if extent[0] > 0 else 1.0, 0.55, 1.2))
    longest = max(len(name) for name, _ in groups[:MOST])
    legend = min(0.75 + 0.07 * longest, 2.4) if groups[0][0] else 0.0
    height = max(tall + 0.5, 0.17 * (len(groups[:MOST]) + 1) + 0.4)
    notes = [n for n in (*result.notes, words.origin(result.origin)) if n]
    paper = Paper.of(side + 0.5 + legend, height, result.title or "cloud", f"{len(result.points):,} points", notes)
    ax = paper.axes(0.45, 0.05, side, tall)
    graph_axes(ax, *result.axes)
    size = float(np.clip(9000 / max(len(result.points), 1), 3, 26))
    order = np.random.default_rng(0)  # a fixed shuffle, so that no class lies on top only because it comes last
    for i, (name, rows) in enumerate(groups):
        colour, mark = _look(i, name)
        ax.scatter(*result.points[order.permutation(rows)].T, s=size, c=colour, marker=mark, linewidths=0, alpha=0.75,
                   rasterized=len(result.points) > 5000)
        if name and i < MOST:
            y = 0.15 + 0.17 * i
            w, h = paper.figure.get_size_inches()
            paper.figure.add_artist(Line2D([(0.3 + side + 0.65) / w], [1 - (paper.top + y) / h], marker=mark, color=colour,
                                           markersize=4.5, markeredgewidth=0, linestyle=""))
            paper.text(side + 0.77, y, fitted(f"{name}  {len(rows):,}", legend - 0.3, 7.5), size=7.5)
    if len(groups) > MOST:
        paper.text(side + 0.62, 0.15 + 0.17 * MOST, f"grey: {len(groups) - MOST} more classes", size=7.5, colour=FAINT)
    ax.set_aspect("equal", adjustable="datalim")
    return paper.figure


def renderable(result: Cloud) -> Listing:
    rows: list[list[str]] = []
    for name, members in _groups(result):
        points = result.points[members]
        centre = points.mean(axis=0) if len(points) else np.full(2, np.nan)
        spread = np.sqrt(((points - centre) ** 2).sum(axis=1).mean()) if len(points) else np.nan
        rows.append([name or "all", words.count(len(members)), f"{100 * len(members) / max(len(result.points), 1):.1f} %",
                     f"{words.number(centre[0], 3)}, {words.number(centre[1], 3)}", words.number(spread, 3)])
    axes = " · ".join(f"{letter}: {words.clean(axis)}" for letter, axis in zip("xy", result.axes, strict=True) if axis)
    return Listing(f"{result.title or 'cloud'}  {len(result.points):,} points", COLUMNS, rows,
                   notes=tuple(n for n in (axes, *result.notes, words.origin(result.origin)) if n))


def html(result: Cloud) -> str:
    from convscope.draw import paper

    return paper.html(figure(result), f"{len(result.points)} points: {result.title}", renderable(result))


def records(result: Cloud) -> tuple[list[str], list[list[Any]]]:
    labels = [-1] * len(result.ids) if result.labels is None else result.labels.tolist()
    rows = [[name, *point, label, _name(result, label)]
            for name, point, label in zip(result.ids, result.points.tolist(), labels, strict=True)]
    return ["id", "x", "y", "label", "class"], rows


def _groups(result: Cloud) -> list[tuple[str, np.ndarray]]:
    """Classes in their order, each with the rows of its points; one nameless group if there are no labels."""
    if result.labels is None or not len(result.points):
        return [("", np.arange(len(result.points)))]
    found = [int(label) for label in np.unique(result.labels)]
    found.sort(key=lambda label: (label < 0, label))  # the unknown come last
    return [(words.clean(_name(result, label)), np.flatnonzero(result.labels == label)) for label in found]


def _name(result: Cloud, label: int) -> str:
    return "unknown" if label < 0 else result.classes[label] if label < len(result.classes) else f"class {label}"


def _look(i: int, name: str) -> tuple[str, str]:
    if i >= MOST or name == "unknown":
        return "#b0b0b0", "o"
    return colours.CLASSES[i % len(colours.CLASSES)], MARKS[i // len(colours.CLASSES)]
