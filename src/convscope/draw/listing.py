"""Rows and columns for people: one listing, printed by rich in a terminal and written as HTML for a notebook.

In a narrow terminal the columns of the highest `rank` leave first, and the last line says which left: a folded table is read
wrongly more often than a shorter one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from rich.box import Box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from convscope.draw.words import clean

_GAP = 2  # between columns: one of padding, one that rich keeps for a line
_LEAST = 24  # the first column folds rather than become narrower than this

# rich's eight rows of a frame: a rule under the head and one above the totals, nothing else.
_RULES = Box("    \n    \n ── \n    \n    \n ── \n    \n    \n")

STYLE = """<style>
.convscope-listing { overflow-x: auto; font-variant-numeric: tabular-nums; line-height: 1.4; max-width: 100% }
.convscope-listing table { border-collapse: collapse; margin: .4em 0; font-size: .92em }
.convscope-listing th { text-align: left; font-weight: 600; border-bottom: 1px solid rgba(128,128,128,.7) }
.convscope-listing th, .convscope-listing td { padding: .15em .9em .15em 0; background: transparent; color: inherit;
 white-space: nowrap; vertical-align: top }
.convscope-listing td { text-align: left; border-bottom: 1px solid rgba(128,128,128,.18) }
.convscope-listing .number { text-align: right }
.convscope-listing tfoot td { border-top: 1px solid rgba(128,128,128,.7); border-bottom: 0; font-weight: 600 }
.convscope-listing p { margin: .15em 0; max-width: 60em; font-size: .92em; opacity: .8 }
.convscope-listing p.title { font-size: 1.05em; font-weight: 600; opacity: 1 }
</style>"""


@dataclass(frozen=True)
class Column:
    """The head of a column. `rank` 0 always stays; the highest leaves first. `meaning` is a tool tip in HTML."""

    name: str
    right: bool = False
    rank: int = 0
    meaning: str = ""


@dataclass(frozen=True)
class Listing:
    """A title, rows of words, a row of totals, notes below.

    The first `faint[i]` characters of row i repeat the row above: they are dimmed, and become '…' where there is no room.
    """

    title: str
    columns: tuple[Column, ...]
    rows: Sequence[Sequence[str]]
    total: Sequence[str] = ()
    notes: tuple[str, ...] = ()
    faint: Sequence[int] = ()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        del console
        if self.title:
            yield Text(clean(self.title), style="bold")
        kept, left = self._fit(options.max_width)
        if kept:
            yield self._table(kept, options.max_width)
            yield Text("")
        for note in self.notes:
            yield Text(clean(note), style="dim")
        if left:
            names = ", ".join(self.columns[c].name for c in left)
            yield Text(f"left out at this width: {names} (a wider terminal, .csv or .json shows all)", style="dim")

    def _table(self, kept: list[int], width: int) -> RenderableType:
        room = width - sum(_GAP + self._width(c) for c in kept[1:])
        table = Table(box=_RULES, show_edge=False, pad_edge=False, padding=(0, _GAP - 1, 0, 0), collapse_padding=True,
                      show_footer=bool(self.total), header_style="bold", footer_style="bold")
        for c in kept:
            column = self.columns[c]
            table.add_column(Text(clean(column.name)), justify="right" if column.right else "left", no_wrap=c != 0,
                             overflow="fold", footer=Text(clean(self.total[c])) if self.total else "")
        for r, row in enumerate(self.rows):
            cells = [Text(clean(row[c]), style="dim" if row[c] in ("0", "–") else "") for c in kept]
            faint = self.faint[r] if r < len(self.faint) else 0
            if faint and cell_len(cells[0].plain) > room:
                cells[0] = Text("…" + cells[0].plain[faint:])
            cells[0].stylize("dim", 0, faint)
            table.add_row(*cells)
        return table

    def _fit(self, width: int) -> tuple[list[int], list[int]]:
        """Which columns stand side by side in `width` characters, and which leave."""
        natural = [self._width(c) for c in range(len(self.columns))]
        if natural:
            natural[0] = min(natural[0], _LEAST)  # it may fold
        kept = list(range(len(natural)))
        leaving = sorted((c for c in kept if self.columns[c].rank), key=lambda c: -self.columns[c].rank)
        for c in leaving:
            if sum(natural[k] for k in kept) + _GAP * (len(kept) - 1) <= width:
                break
            kept.remove(c)
        return kept, [c for c in range(len(natural)) if c not in kept]

    def _width(self, c: int) -> int:
        return max(cell_len(clean(words)) for words in self._column(c))

    def _column(self, c: int) -> Iterator[str]:
        yield self.columns[c].name
        yield from (row[c] for row in self.rows)
        if self.total:
            yield self.total[c]

    def html(self) -> str:
        """A self-contained fragment; everything that came from outside is escaped."""
        head = "".join(f'<th{self._number(c)} title="{escape(clean(k.meaning))}">{escape(clean(k.name))}</th>'
                       for c, k in enumerate(self.columns))
        body = "\n".join(self._html_rows())
        foot = f"<tfoot>{self._html_row(self.total)}</tfoot>" if self.total else ""
        table = f"<table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody>{foot}</table>" if self.columns else ""
        title = f'<p class="title">{escape(clean(self.title))}</p>' if self.title else ""
        notes = "".join(f"<p>{escape(clean(note))}</p>" for note in self.notes)
        return f'<div class="convscope-listing">{STYLE}{title}{table}{notes}</div>'

    def _html_rows(self) -> Iterator[str]:
        yield from (self._html_row(row) for row in self.rows)

    def _html_row(self, row: Sequence[str]) -> str:
        return "<tr>" + "".join(f"<td{self._number(c)}>{escape(clean(cell))}</td>" for c, cell in enumerate(row)) + "</tr>"

    def _number(self, c: int) -> str:
        return ' class="number"' if self.columns[c].right else ""
