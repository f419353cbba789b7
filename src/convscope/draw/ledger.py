"""A listing whose rows have lines of their own beneath: what a row is made of, indented, in columns that run through.

    layer  operator  output   MACs  backward
    ────────────────────────────────────────
    conv1  conv2d    1×24×24  14 k      28 k
      ∂L/∂x       1×28×28  14 k   24 + 5 − 1 = 28
      ∂L/∂weight  1×1×5×5  14 k   28 − 24 + 1 = 5

The last cell of a line below takes the room that is left, and goes on beneath itself where that is too little.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.text import Text

from convscope.draw.listing import _GAP, _LEAST, Column, Listing
from convscope.draw.words import clean

_INDENT = 2
_NARROW = 20  # the last cell of a line below is never folded to less

STYLE = """<style>
.convscope-listing tr:has(+ tr.below) td { border-bottom: 0 }
.convscope-listing tr.below td { border: 0; padding: 0 0 0 1.4em; white-space: normal; line-height: 1.4; opacity: .85 }
.convscope-listing tr.below + tr:not(.below) td { border-top: 1px solid rgba(128,128,128,.3) }
.convscope-listing tr.below div { display: flex; gap: 1.2em }
.convscope-listing tr.below span { white-space: nowrap }
.convscope-listing tr.below span:last-child { white-space: normal; flex: 1 1 18em }
</style>"""


@dataclass(frozen=True)
class Ledger(Listing):
    """A listing with `below[i]`, the lines beneath row i; `inner` says which of their cells are numbers."""

    below: Sequence[Sequence[Sequence[str]]] = ()
    inner: tuple[Column, ...] = ()

    def _table(self, kept: list[int], width: int) -> RenderableType:
        widths = {c: self._width(c) for c in kept}
        others = sum(_GAP + widths[c] for c in kept[1:])
        widths[kept[0]] = min(widths[kept[0]], max(_LEAST, width - others))
        rule = Text("─" * (sum(widths.values()) + _GAP * (len(kept) - 1)))
        lines = [self._line([k.name for k in self.columns], widths, "bold"), rule]
        for r, row in enumerate(self.rows):
            lines += self._row(row, self.faint[r] if r < len(self.faint) else 0, widths)
            lines += [Text(line) for cells in self._beneath(r) for line in self._folded(cells, width)]
        if self.total:
            lines += [rule, self._line(self.total, widths, "bold")]
        return Group(*lines)

    def _row(self, row: Sequence[str], faint: int, widths: dict[int, int]) -> list[Text]:
        """A row; a first cell that is too long loses what repeats the row above, then goes on in the next line."""
        first, *_ = widths
        words, room = clean(row[first]), widths[first]
        if faint and cell_len(words) > room:
            words, faint = "…" + words[faint:], 1
        pieces = [words[i:i + room] for i in range(0, len(words), room)] or [""]
        line = self._line([*row[:first], pieces[0], *row[first + 1:]], widths)
        line.stylize("dim", 0, faint)
        return [line, *(Text(piece) for piece in pieces[1:])]

    def _line(self, cells: Sequence[str], widths: dict[int, int], style: str = "") -> Text:
        line = Text()
        for c, wide in widths.items():
            words = clean(cells[c])
            gap = " " * max(wide - cell_len(words), 0)
            line.append((gap + words if self.columns[c].right else words + gap) + " " * _GAP,
                        style or ("dim" if words in ("0", "–") else ""))
        line.rstrip()
        return line

    def _beneath(self, r: int) -> Sequence[Sequence[str]]:
        return self.below[r] if r < len(self.below) else ()

    def _folded(self, cells: Sequence[str], width: int) -> Iterator[str]:
        """One line below as lines of a terminal."""
        sizes = self._inner_widths()
        head = " " * _INDENT
        for column, wide, cell in zip(self.inner, sizes, cells[:-1], strict=False):
            gap = " " * (wide - cell_len(clean(cell)))
            head += (gap + clean(cell) if column.right else clean(cell) + gap) + " " * _GAP
        room = max(width - cell_len(head), _NARROW)
        first, *rest = _folds(clean(cells[-1]), room) or [""]
        yield (head + first).rstrip()
        yield from (" " * cell_len(head) + more for more in rest)

    def _inner_widths(self) -> list[int]:
        return [max((cell_len(clean(line[c])) for lines in self.below for line in lines), default=0)
                for c in range(len(self.inner) - 1)]

    def html(self) -> str:
        return super().html().replace('<div class="convscope-listing">', f'<div class="convscope-listing">{STYLE}', 1)

    def _html_rows(self) -> Iterator[str]:
        sizes = self._inner_widths()
        for r, row in enumerate(self.rows):
            yield self._html_row(row)
            for cells in self._beneath(r):
                spans = "".join(_span(*each) for each in zip(self.inner, sizes, cells, strict=False))
                last = f"<span>{escape(clean(cells[-1]))}</span>"
                yield f'<tr class="below"><td colspan="{len(self.columns)}"><div>{spans}{last}</div></td></tr>'


def _span(column: Column, wide: int, cell: str) -> str:
    """A cell of its own width in every line; '×' and '∂' are wider than the digits that a 'ch' measures."""
    side = "; text-align: right" if column.right else ""
    return f'<span style="flex: 0 0 {wide + wide // 6 + 1}ch{side}">{escape(clean(cell))}</span>'


def _folds(words: str, room: int) -> list[str]:
    """Lines of at most `room` characters, cut behind a ';' where one is near."""
    lines = [""]
    for part in words.replace("; ", ";\n").split("\n"):
        joined = f"{lines[-1]} {part}".strip()
        if cell_len(joined) <= room:
            lines[-1] = joined
        else:
            glued = part.replace(" = ", "\u00a0=\u00a0")  # a result stays with the last number before it
            lines += [line.replace("\u00a0", " ") for line in textwrap.wrap(glued, room)]
    return [line for line in lines if line]
