"""Table: rows of numbers, names and short arrays, each column with its meaning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from convscope.draw import words
from convscope.draw.listing import Column, Listing
from convscope.results import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 60  # rows in a text, a page or a figure
WIDEST = 13.0  # inches of columns in a figure


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
    from convscope.draw.paper import LINE, Paper

    listing = renderable(result)
    widths = [_inches(c, listing) for c in range(len(listing.columns))]
    kept = [c for c in range(len(widths)) if sum(widths[:c + 1]) <= WIDEST or c == 0]
    left = [listing.columns[c].name for c in range(len(widths)) if c not in kept]
    notes = (*listing.notes, f"left out for width: {', '.join(left)}" if left else "")
    row = 0.19
    wide = sum(widths[c] for c in kept)
    below = _rows(len(listing.rows), len(result))
    paper = Paper.of(wide, row * (len(listing.rows) + 1) + 0.1, result.title or "table", below, [n for n in notes if n])
    rule = paper.axes(0, row + 0.02, max(wide, 0.1), 0.001)
    rule.spines["top"].set(visible=True, color=LINE)
    x = 0.0
    for c in kept:
        right = listing.columns[c].right
        place = x + widths[c] - 0.15 if right else x
        align = "right" if right else "left"
        paper.text(place, row / 2, listing.columns[c].name, size=8, weight="bold", ha=align)
        for r, cells in enumerate(listing.rows):
            paper.text(place, row * (r + 1.5) + 0.08, cells[c], size=8, ha=align)
        x += widths[c]
    return paper.figure


def _inches(c: int, listing: Listing) -> float:
    longest = max([len(listing.columns[c].name) * 1.1, *(len(row[c]) for row in listing.rows)])
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
