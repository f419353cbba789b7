"""Steps: one number worked out. The factors and their products as they lie in the layer, the largest terms, line by line,
and always, at the end, autograd's number for the same thing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console, ConsoleOptions, RenderResult
from rich.padding import Padding
from rich.text import Text

from convscope.draw import matrices, raster, table, words
from convscope.draw.listing import Column, Listing
from convscope.draw.panels import (
    ROUNDING,
    Panel,
    Part,
    agrees,
    around,
    channels,
    counted,
    other_grids,
    parts,
    place,
    products,
    total,
)
from convscope.results import Grid, Line, Steps, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_TERMS = 12  # rows of the table of products
MOST_LINES = 60  # lines of arithmetic; beyond it the middle is left out
MOST_ROWS = 30  # rows of numbers in a text, over all matrices
SIDE = 12  # the longest side of a matrix in a text or on a page
EXCERPT = 6  # the side of what is shown of a larger one
SIGNS = ("", " × ", " = ")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*(e[+-]?\d+)?|inf|nan)")
_ASIDE = re.compile(r"\([^()]*=[^()]*\)")  # '(x = 0.2 > 0: it passes)'
_GOES_ON = ("+", "-", "·", "×", "/", "*", "^")  # the number is the first of several

STYLE = """<style>
.convscope-steps { line-height: 1.45; max-width: 100% }
.convscope-steps p { margin: .3em 0 }
.convscope-steps p.title { font-weight: 600; font-size: 1.05em }
.convscope-steps p.formula { font-family: ui-monospace, monospace }
.convscope-steps p.note { font-size: .9em; opacity: .8 }
.convscope-steps ol.lines { list-style: none; padding: 0 0 0 .8em; margin: .6em 0; font-variant-numeric: tabular-nums;
 border-left: 3px solid rgba(128,128,128,.4) }
.convscope-steps p.check { font-weight: 600; padding: .3em .6em; border: 1px solid rgba(128,128,128,.5);
 border-left: 5px solid #2e8b57 }
.convscope-steps p.check.disagrees { border-left-color: #d0342c; color: #d0342c }
.convscope-steps .crops { display: flex; flex-wrap: wrap; gap: .8em; margin: .6em 0 }
.convscope-steps figure { margin: 0; width: 8em }
.convscope-steps figure img { width: 100%; image-rendering: pixelated; display: block }
.convscope-steps figcaption { font-size: .75em; opacity: .85; overflow-wrap: anywhere }
</style>"""


@dataclass(frozen=True)
class Worksheet:
    """What `rich` prints: it is laid out for the width that there is."""

    result: Steps

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        del console
        result, width = self.result, options.max_width
        yield Text(words.clean(result.title), style="bold")
        yield Text(words.clean(result.formula))
        yield from self._matrices(width)
        if result.terms is not None and len(result.terms.left_values):
            yield Text("")
            yield terms_listing(result)
        yield Text("")
        for line in shortened(result.lines):
            yield Padding(Text(line), (0, 0, 0, 2))
        if result.table:
            yield Text("")
            yield table_listing(result)
        if result.captions:
            yield Text("\nwhat the largest terms saw (pictures in .png and .html):")
            yield from (Padding(Text(words.clean(caption)), (0, 0, 0, 2)) for caption in result.captions)
        yield Text("")
        yield Text(check(result), style="green" if agrees(result) else "bold red")
        yield from (Text(note, style="dim") for note in notes(result))

    def _matrices(self, width: int) -> RenderResult:
        found = parts(self.result.terms, self.result.grids)
        shown = [excerpt(part) for part in found[:3] if not _thread(part)]
        room = MOST_ROWS
        for n, part in enumerate(shown):
            lines = matrices.beside([narrowed(panel, width) for panel in part.panels], SIGNS, width)
            if n and len(lines) > room:
                shown = shown[:n]
                break
            room -= len(lines)
            yield Text("")
            yield from lines
        said = left_out(self.result, found, len(shown)) if shown else ""
        yield from [Text(said, style="dim")] if said else []
        panels, large = small_grids(self.result)
        if panels:
            shown_panels = [narrowed(panel, width) for panel in panels]
            yield Text("")
            yield from matrices.beside(shown_panels, ["", *("   ",) * (len(panels) - 1)], width)
            yield from [Text(legend(shown_panels), style="dim")] if legend(shown_panels) else []
        yield from (Text(extent(grid), style="dim") for grid in large)


def renderable(result: Steps) -> Worksheet:
    return Worksheet(result)


def html(result: Steps) -> str:
    found = parts(result.terms, result.grids)
    shown = [excerpt(part) for part in found[:3] if not _thread(part)]
    panels, large = small_grids(result)
    blocks = [matrices.html(part.panels, SIGNS) for part in shown]
    blocks += [_note(left_out(result, found, len(shown)))] if shown else []
    blocks += [matrices.html(panels, ("",) * len(panels)), _note(legend(panels, "framed"))] if panels else []
    blocks += [_note(extent(grid)) for grid in large]
    blocks += [terms_listing(result).html()] if result.terms is not None and len(result.terms.left_values) else []
    lines = "".join(f"<li>{escape(line)}</li>" for line in shortened(result.lines))
    blocks += [f'<ol class="lines">{lines}</ol>'] if lines else []
    blocks += [table_listing(result).html()] if result.table else []
    blocks += [_pictures(result)] if result.crops else []
    kind = "agrees" if agrees(result) else "disagrees"
    return (f'<div class="convscope-steps">{STYLE}{matrices.STYLE}<p class="title">{escape(words.clean(result.title))}</p>'
            f'<p class="formula">{escape(words.clean(result.formula))}</p>{"".join(blocks)}'
            f'<p class="check {kind}" role="status">{escape(check(result))}</p>{"".join(map(_note, notes(result)))}</div>')


def records(result: Steps) -> tuple[list[str], list[list[Any]]]:
    """Header and rows for a CSV file: the table where there is one, else every product, else the lines."""
    if result.table:
        return table.records(Table(columns=result.table))
    terms = result.terms
    if terms is None:
        return ["line", "value"], [[line.text, line.value] for line in result.lines]
    rows = [[" ".join(map(str, at)), left, " ".join(map(str, under)), right, product] for at, left, under, right, product in
            zip(terms.left_at.tolist(), terms.left_values.tolist(), terms.right_at.tolist(), terms.right_values.tolist(),
                products(terms).tolist(), strict=True)]
    return [f"{terms.left} at", terms.left, f"{terms.right} at", terms.right, "product"], rows


def figure(result: Steps) -> Figure:
    from convscope.draw import worksheet

    return worksheet.figure(result)


def check(result: Steps) -> str:
    """Autograd's number beside ours, in one sentence; whether they disagree is said in words."""
    theirs, ours = words.number(result.check, 9), words.number(result.value, 9)
    if agrees(result):
        return f"check: autograd says {theirs}, ours differs by {result.difference:.2g}"
    return (f"check: autograd says {theirs}, ours is {ours}: they DISAGREE by {result.difference:.2g}, more than rounding "
            f"({ROUNDING:.0e} of the number): one of the two is wrong")


def notes(result: Steps) -> tuple[str, ...]:
    return tuple(words.clean(note) for note in (*result.notes, words.origin(result.origin)) if note)


def shortened(lines: tuple[Line, ...], most: int = MOST_LINES) -> list[str]:
    """The arithmetic as words, each line with what it comes to; of very many, the first and the last."""
    said = [arithmetic(line) for line in lines]
    if len(said) <= most:
        return said
    half = most // 2
    return [*said[:half], f"… {len(said) - 2 * half:,} lines left out (.json holds them) …", *said[-half:]]


def arithmetic(line: Line) -> str:
    """A line that says its value, if not behind the last '=' then added.

    >>> arithmetic(Line("y = 1 + 2", 3.0)), arithmetic(Line("y = 3 (bias)", 3.0)), arithmetic(Line("√(1 + 3)", 2.0))
    ('y = 1 + 2 = 3', 'y = 3 (bias)', '√(1 + 3) = 2')
    """
    text = words.clean(line.text)
    tail = _ASIDE.sub("", text).rpartition("=")[2].strip().replace("−", "-").replace(",", "")
    first = _NUMBER.match(tail)
    sums = first is not None and tail[first.end():].lstrip().startswith(_GOES_ON)
    said = [float(found.group()) for found in _NUMBER.finditer(tail)]
    if said and not sums and np.isclose(said, line.value, rtol=1e-3, atol=0, equal_nan=True).any():
        return text
    return f"{text} = {words.number(line.value, 6)}"


def terms_listing(result: Steps) -> Listing:
    """The largest products and what the others come to."""
    terms = result.terms
    assert terms is not None
    made, n = products(terms), len(terms.left_values)
    order = np.argsort(-np.abs(made), kind="stable")[:MOST_TERMS]
    left, right = words.clean(terms.left), words.clean(terms.right)
    rest = total(np.delete(made, order))
    numbers = [words.aligned(v) for v in (terms.left_values[order], terms.right_values[order])]
    numbers.append(words.aligned(np.append(made[order], (rest, total(made))), 5))  # all points under each other
    rows = [[place(terms.left_at[i]), a, place(terms.right_at[i]), b, product]
            for i, a, b, product in zip(order, *numbers, strict=False)]
    if n > len(order):
        rows.append([f"… {n - len(order):,} more", "", "", "", numbers[2][-2]])
    zero = int((made == 0).sum())
    foot = [f"Σ of {n:,}", "", "", "", numbers[2][-1]]
    columns = (Column(f"{left} at"), Column(left, right=True), Column(f"{right} at", rank=1), Column(right, right=True),
               Column("product", right=True))
    title = "products, the largest first" if n > 1 else "the product"
    idle = f"{zero:,} of {n:,} products {'is' if zero == 1 else 'are'} zero"
    return Listing(title, columns, rows, foot, (idle,) if zero else ())


def table_listing(result: Steps) -> Listing:
    """Numbers side by side, one row each."""
    return table.renderable(Table(columns=result.table, units=result.units, title="row by row"))


def left_out(result: Steps, found: list[Part], shown: int) -> str:
    """How many of the parts of the sum are shown, how much of it they are, and what a dot means."""
    assert result.terms is not None
    weight, what = sum(part.weight for part in found), counted(result.terms)
    dots = "· lies in the padding" if any(panel.outside.any() for part in found for panel in part.panels) else ""
    if shown == len(found):
        return dots
    share = sum(part.weight for part in found[:shown]) / weight if weight else 0.0
    others = sum(part.total for part in found[shown:])
    said = (f"{shown} of {len(found):,} {what} shown, {100 * share:.0f} % of Σ|product|; the others come to "
            f"{words.number(others)} together")
    return "; ".join(part for part in (said, dots) if part)


def legend(panels: list[Panel], mark: str = "*") -> str:
    """What marks and dots mean, where there are any."""
    marks = [f"{mark}: in play"] if any(panel.marked.any() and not panel.marked.all() for panel in panels) else []
    marks += ["· lies in the padding"] if any(panel.outside.any() for panel in panels) else []
    return "; ".join(marks)


def small_grids(result: Steps) -> tuple[list[Panel], list[Grid]]:
    """Panels of the grids that the sum does not show; the grids that would only repeat, in a larger map, what it shows."""
    grids, summed = other_grids(result), bool(parts(result.terms, result.grids))
    large = [grid for grid in grids if summed and grid.values.size > SIDE * SIDE]
    return [panel.focused(SIDE) for grid in grids if all(grid is not other for other in large)
            for panel in channels(grid, result.terms)[:2]], large


def extent(grid: Grid) -> str:
    """'δ[0]: 6×28×28 numbers, −0.1 … 0.2'."""
    finite = grid.values[np.isfinite(grid.values)]
    ends = f", {words.number(finite.min())} … {words.number(finite.max())}" if finite.size else ""
    return f"{words.clean(grid.name)}: {'×'.join(map(str, grid.values.shape))} numbers{ends}"


def excerpt(part: Part) -> Part:
    """All of a part, or the cells around its largest product, few enough to stand side by side."""
    return part if max(part.panels[0].values.shape) <= SIDE else part.cut(EXCERPT, EXCERPT)


def narrowed(panel: Panel, width: int) -> Panel:
    """As many columns of a panel as fit into a terminal, around its largest number."""
    where = around(np.abs(panel.values), SIDE, max(width // matrices.widest(panel), 1))
    return panel if where is None else panel.cut(*where)


def _thread(part: Part) -> bool:
    """One long row: the table of its largest products says more."""
    height, length = part.panels[0].values.shape
    return height == 1 and length > SIDE


def _note(words_: str) -> str:
    return f'<p class="note">{escape(words_)}</p>' if words_ else ""


def _pictures(result: Steps) -> str:
    """The crops with their captions, enlarged without smoothing."""
    import base64

    made: list[str] = []
    for crop, caption in zip(result.crops, result.captions, strict=False):
        if not crop.size:
            continue
        data = base64.b64encode(raster.png(crop)).decode("ascii")
        said = escape(words.clean(caption))
        made.append(f'<figure><img alt="{said}" src="data:image/png;base64,{data}"><figcaption>{said}</figcaption></figure>')
    return f'<div class="crops">{"".join(made)}</div>'
