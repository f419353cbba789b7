"""Table: rows of numbers, names and short arrays, each column with its meaning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from convscope.draw import words
from convscope.draw.listing import Column, Listing
from convscope.results import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from convscope.draw.paper import Paper

MOST = 60  # rows in a text, a page or a figure
CHART, INTERVAL = 2.6, "#2d6cb5"  # inches across, colour
WIDEST = 13.0  # inches of columns in a figure
ROW = 0.19  # inches from one row to the next


def renderable(result: Table) -> Listing:
    """The first rows; where there is no room, the last columns leave first."""
    columns = tuple(Column(words.clean(name), right=_numeric(cells), rank=i, meaning=result.units.get(name, ""))
                    for i, (name, cells) in enumerate(result.columns.items()))
    shown = min(len(result), MOST)
    columns_of_words = [_cells(cells[:shown]) for cells in result.columns.values()]
    rows = list(zip(*columns_of_words, strict=True))
    meanings = tuple(f"{name}: {meaning}" for name, meaning in result.units.items() if name in result.columns)
    return Listing(f"{result.title or 'table'}  {_rows(shown, len(result))}", columns, rows,
                   notes=tuple(n for n in (*meanings, *result.notes, words.origin(result.origin)) if n))


def html(result: Table) -> str:
    return renderable(result).html()


def records(result: Table) -> tuple[list[str], list[list[Any]]]:
    """Header and rows for a CSV file: numbers in full; an array in a cell is written with spaces between."""
    columns = list(result.columns.values())
    rows = [[_raw(cells[r]) for cells in columns] for r in range(len(result))]
    return list(result.columns), rows


def figure(result: Table) -> Figure:
    """The rows set in type."""
    from convscope.draw.paper import Paper

    listing = renderable(result)
    wide, high, left = typeset(listing)
    notes = (*listing.notes, f"left out for width: {', '.join(left)}" if left else "")
    below = _rows(len(listing.rows), len(result))
    beside = 0.3 + CHART if result.chart and len(listing.rows) else 0
    paper = Paper.of(wide + beside, high + (0.3 if beside else 0), result.title or "table", below, [n for n in notes if n])
    print_rows(paper, listing, 0.0)
    if beside:
        _intervals(paper, result, wide + 0.3, len(listing.rows))
    return paper.figure


def _intervals(paper: Paper, result: Table, left: float, rows: int) -> None:
    """Beside each row its value with the ends of its interval, over one axis; a line at zero."""
    from convscope.draw.paper import LINE, graph_axes

    value, low, high = (np.asarray(result.columns[name][:rows], np.float64) for name in result.chart)
    ax = paper.axes(left, ROW * 1.25, CHART, ROW * rows)
    graph_axes(ax, result.chart[0], "")
    at = np.arange(rows)
    ax.axvline(0, color=LINE, linewidth=0.8)
    ax.hlines(at, low, high, color=INTERVAL, linewidth=1.2)
    ax.plot(value, at, "o", color=INTERVAL, markersize=3.5)
    ax.set_ylim(rows - 0.5, -0.5)
    ax.set_yticks([])


def typeset(listing: Listing) -> tuple[float, float, list[str]]:
    """Inches that the rows of a listing take, across and down, and the columns for which there is no room."""
    widths, kept = _places(listing)
    left = [column.name for c, column in enumerate(listing.columns) if c not in kept]
    return sum(widths[c] for c in kept), ROW * (len(listing.rows) + 1 + bool(listing.total)) + 0.1, left


def print_rows(paper: Paper, listing: Listing, top: float) -> None:
    """Set the rows of a listing in type, `top` inches below the drawing's upper edge."""
    from convscope.draw.paper import LINE

    widths, kept = _places(listing)
    rule = paper.axes(0, top + ROW + 0.02, max(sum(widths[c] for c in kept), 0.1), 0.001)
    rule.spines["top"].set(visible=True, color=LINE)
    x = 0.0
    for c in kept:
        right = listing.columns[c].right
        place = x + widths[c] - 0.15 if right else x
        align = "right" if right else "left"
        paper.text(place, top + ROW / 2, listing.columns[c].name, size=8, weight="bold", ha=align)
        for r, cells in enumerate(listing.rows):
            paper.text(place, top + ROW * (r + 1.5) + 0.08, cells[c], size=8, ha=align)
        if listing.total:
            foot = top + ROW * (len(listing.rows) + 1.5) + 0.08
            paper.text(place, foot, listing.total[c], size=8, ha=align, weight="bold")
        x += widths[c]


def _places(listing: Listing) -> tuple[list[float], list[int]]:
    """The width of every column in inches, and which columns fit on a sheet."""
    widths = [_inches(c, listing) for c in range(len(listing.columns))]
    return widths, [c for c in range(len(widths)) if sum(widths[:c + 1]) <= WIDEST or c == 0]


def _inches(c: int, listing: Listing) -> float:
    longest = max([len(listing.columns[c].name) * 1.1, *(len(row[c]) for row in listing.rows),
                   len(listing.total[c]) * 1.1 if listing.total else 0])
    return 0.2 + 0.0725 * longest


def _numeric(cells: np.ndarray) -> bool:
    return cells.dtype.kind in "biuf" and cells.ndim == 1


def _cells(cells: np.ndarray) -> list[str]:
    return words.aligned(cells) if cells.dtype.kind == "f" and cells.ndim == 1 else [words.value(cell) for cell in cells]


def _raw(cell: Any) -> Any:
    if isinstance(cell, np.ndarray):
        return " ".join(str(v) for v in cell.reshape(-1).tolist())
    return cell.item() if isinstance(cell, np.generic) else cell


def _rows(shown: int, n: int) -> str:
    return f"{shown:,} of {n:,} rows (.csv, .json and .npz hold all)" if shown < n else words.plural(n, "row")
