"""The sheet on which one number is worked out: coloured matrices, the arithmetic in lines, what the terms saw, the check.

Numbers stand in the cells of small matrices; large ones are colours alone. Red is above zero, blue below, white zero. All
left factors share a scale, so do all right factors and all products; under each matrix stands where its colours end.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from convscope.draw import colours, matrices, steps, table, words
from convscope.draw.panels import Panel, agrees, channels, other_grids, parts
from convscope.draw.paper import FAINT, INK, LINE, Paper, fitted
from convscope.results import Steps

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDE = 7.4  # inches across, at least
NUMBERED = 12  # the longest side of a matrix whose cells hold numbers
PLAIN = 2.2  # inches, the longer side of a matrix without numbers
TALL = 9.0  # inches for the parts of a sum
LINES = 46  # lines of arithmetic
GOOD, BAD = "#1f7a48", "#c22f27"
PAD = (232, 232, 232)  # the grey of a cell in the padding


@dataclass(frozen=True)
class Piece:
    """Something on the sheet: how much room it needs, and what draws it at a distance from the top."""

    wide: float
    high: float
    draw: Callable[[Paper, float], None]


def figure(result: Steps) -> Figure:
    """All of a `Steps` on one sheet."""
    pieces = [*_sums(result), *_grids(result)]
    wide = max([WIDE, *(piece.wide for piece in pieces)])
    if result.terms is not None and len(result.terms.left_values) and not parts(result.terms, result.grids):
        pieces.append(_listing(steps.terms_listing(result)))
    pieces.append(_lines(steps.shortened(result.lines, LINES), wide))
    if result.table:
        pieces.append(_listing(steps.table_listing(result)))
    if result.crops:
        pieces.append(_crops(result, wide))
    colour = GOOD if agrees(result) else BAD
    pieces.append(_lines([steps.check(result)], wide, weight="bold", colour=colour))
    wide = max([wide, *(piece.wide for piece in pieces)])
    paper = Paper.of(wide, sum(p.high + 0.14 for p in pieces), words.clean(result.title), words.clean(result.formula),
                     steps.notes(result))
    top = 0.0
    for piece in pieces:
        piece.draw(paper, top)
        top += piece.high + 0.14
    return paper.figure


def _sums(result: Steps) -> list[Piece]:
    """The parts of the sum as left × right = products, as many as there is room for."""
    found = parts(result.terms, result.grids)
    made: list[Piece] = []
    for part in found[:3]:
        piece = _row([_folded(panel) for panel in part.panels], steps.SIGNS)
        if made and sum(p.high for p in made) + piece.high > TALL:
            break
        made.append(piece)
    said = steps.left_out(result, found, len(made)) if made else ""
    return [*made, _lines([said], WIDE, colour=FAINT)] if said else made


def _grids(result: Steps) -> list[Piece]:
    """Grids that the sum does not show, as many side by side as fit; of several channels, the three most in play."""
    most = 1 if parts(result.terms, result.grids) else 3
    panels = [_folded(panel) for grid in other_grids(result) for panel in channels(grid, result.terms)[:most]]
    made: list[Piece] = []
    row: list[Panel] = []
    for panel in panels:
        if row and _row([*row, panel]).wide > 1.2 * WIDE:
            made.append(_row(row))
            row = []
        row.append(panel)
    made += [_row(row)] if row else []
    said = steps.legend(panels, "framed")
    return [*made, _lines([said], WIDE, colour=FAINT)] if said else made


def _row(panels: Sequence[Panel], signs: Sequence[str] = ()) -> Piece:
    """Matrices in a row, all of one cell size, each after its sign."""
    signs = signs or ("", *("  ",) * (len(panels) - 1))
    cell = max(_cell(panels), 0.004)
    sizes = [(max(p.values.shape[1] * cell, 0.35), max(p.values.shape[0] * cell, 0.12)) for p in panels]
    names = [_named(panel, wide) for panel, (wide, _) in zip(panels, sizes, strict=True)]
    head = 0.13 * max(len(name) for name in names) + 0.04
    high = max(h for _, h in sizes)
    places: list[float] = []
    x = 0.0
    for (wide, _), name, sign in zip(sizes, names, signs, strict=True):
        x += 0.3 if sign else 0.0
        places.append(x)
        x += max(wide, *(0.0585 * len(line) for line in name))

    def draw(paper: Paper, top: float) -> None:
        for panel, (wide, tall), name, place, sign in zip(panels, sizes, names, places, signs, strict=True):
            for i, line in enumerate(name):
                paper.text(place, top + 0.07 + 0.13 * i, line, size=7)
            paper.text(place - 0.15, top + head + high / 2, sign.strip(), size=12, ha="center")
            _matrix(paper, panel, (place, top + head, wide, tall))
            ends = f"colours end at ±{words.number(panel.limit, 3)}"
            paper.text(place, top + head + tall + 0.09, ends, size=6, colour=FAINT)

    return Piece(x, head + high + 0.17, draw)


def _matrix(paper: Paper, panel: Panel, box: tuple[float, float, float, float]) -> None:
    """One matrix in its box: colours, numbers where the cells are large enough, frames around marked cells."""
    from matplotlib.patches import Rectangle

    h, w = panel.values.shape
    rgb = colours.diverging(panel.values, panel.limit)
    rgb[panel.outside & ~(np.abs(panel.values) > 0)] = PAD
    ax = paper.picture(rgb, *box)
    for spine in ax.spines.values():
        spine.set_visible(True)
    if max(h, w) <= NUMBERED:
        size = 6.5 if max(h, w) <= 7 else 5.0
        for y, row in enumerate(matrices.cells(panel, 3)[0]):
            for x, word in enumerate(row):
                dark = rgb[y, x] @ np.array([0.299, 0.587, 0.114]) < 140
                ax.text(x, y, word, fontsize=size, ha="center", va="center", color="white" if dark else INK)
        ax.set_xticks(np.arange(0.5, w - 1), minor=True)
        ax.set_yticks(np.arange(0.5, h - 1), minor=True)
        ax.grid(which="minor", color=LINE, linewidth=0.4)
        ax.tick_params(which="minor", length=0)
    if panel.marked.any() and not panel.marked.all():
        for y, x in np.argwhere(panel.marked):
            ax.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, fill=False, edgecolor=INK, linewidth=0.9))


def _cell(panels: Sequence[Panel]) -> float:
    """Inches of a cell's side: room for a number in a small matrix."""
    longest = max(max(panel.values.shape) for panel in panels)
    return 0.37 if longest <= 7 else 0.285 if longest <= NUMBERED else PLAIN / longest


def _named(panel: Panel, wide: float) -> list[str]:
    """The name over a matrix, folded to about its width."""
    power = matrices.cells(panel, 3)[1] if max(panel.values.shape) <= NUMBERED else ""
    return textwrap.wrap(words.clean(panel.name) + power, max(int(wide / 0.056), 26)) or [""]


def _folded(panel: Panel) -> Panel:
    """One long row of numbers as several, so that they can be seen."""
    h, w = panel.values.shape
    if h > 1 or w <= NUMBERED:
        return panel
    across = int(np.ceil(np.sqrt(w)))
    more = -(-w // across) * across - w
    values, marked, outside = (np.append(a[0], np.full(more, fill)).reshape(-1, across) for a, fill in
                               ((panel.values, 0), (panel.marked, False), (panel.outside, True)))
    return Panel(f"{panel.name} in rows of {across}", values, marked.astype(bool), outside.astype(bool), panel.limit)


def _lines(said: Sequence[str], wide: float, **style: Any) -> Piece:
    """Lines of words, folded."""
    room = max(int(wide / 0.0605), 20)
    folded = [(line, i) for words_ in said for i, line in enumerate(textwrap.wrap(words_, room) or [""])]

    def draw(paper: Paper, top: float) -> None:
        for i, (line, inner) in enumerate(folded):
            paper.text(0.15 if inner else 0.0, top + 0.085 + 0.17 * i, line, size=7.5, **style)

    return Piece(0.0, 0.17 * len(folded), draw)


def _listing(listing: Any) -> Piece:
    """Rows set in type, with their title."""
    wide, high, left = table.typeset(listing)

    def draw(paper: Paper, top: float) -> None:
        said = f"; left out for width: {', '.join(left)}" if left else ""
        paper.text(0, top + 0.08, listing.title + said, size=7.5, colour=FAINT)
        table.print_rows(paper, listing, top + 0.2)

    return Piece(wide, high + 0.2, draw)


def _crops(result: Steps, wide: float) -> Piece:
    """What the largest terms saw, each with its caption."""
    side, gap = 0.95, 0.2
    across = max(int((wide + gap) / (side + gap)), 1)
    crops = [(crop, caption) for crop, caption in zip(result.crops, result.captions, strict=False) if crop.size]
    captions = [textwrap.wrap(words.clean(caption), 26)[:3] for _, caption in crops]
    step = side + 0.11 * max([1, *map(len, captions)]) + 0.14

    def draw(paper: Paper, top: float) -> None:
        paper.text(0, top + 0.08, "what the largest terms saw", size=7.5, colour=FAINT)
        for n, ((crop, _), caption) in enumerate(zip(crops, captions, strict=True)):
            x, y = n % across * (side + gap), top + 0.22 + n // across * step
            h, w = crop.shape[:2]
            scale = side / max(h, w)
            ax = paper.picture(crop, x, y, w * scale, h * scale)
            for spine in ax.spines.values():
                spine.set_visible(True)
            for i, line in enumerate(caption):
                paper.text(x, y + side + 0.09 + 0.11 * i, fitted(line, side + gap, 5.2), size=5.2, colour=FAINT)

    return Piece(min(len(crops), across) * (side + gap) - gap, 0.22 + -(-len(crops) // across) * step, draw)
