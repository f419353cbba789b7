"""Panels as rows of numbers, for terminals and HTML: matrices side by side, signs between them.

All numbers of a panel have the same number of decimals, and a power of ten stands in its name where they are very small or
large. An exact zero is '0', so that '0.00' says: small, not zero. A dot is a place in the padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
from rich.cells import cell_len
from rich.text import Text

from convscope.draw.panels import Panel
from convscope.draw.words import clean

PADDING = "·"
RED, BLUE = "200, 40, 40", "40, 100, 210"  # above and below zero; see-through, so that they read on light and dark ground

STYLE = """<style>
.convscope-panels { display: flex; flex-wrap: wrap; gap: .6em .9em; align-items: center; margin: .6em 0; overflow-x: auto }
.convscope-panels table { border-collapse: collapse; font-size: .8em; font-variant-numeric: tabular-nums }
.convscope-panels caption { caption-side: top; text-align: left; padding: .1em 0; font-size: 1.05em; opacity: .85;
 white-space: nowrap }
.convscope-panels td { text-align: right; padding: .12em .4em; border: 1px solid rgba(128,128,128,.25); min-width: 2.6em }
.convscope-panels td.outside { border-style: dashed; opacity: .55 }
.convscope-panels td.marked { outline: 2px solid currentColor; outline-offset: -2px; font-weight: 700 }
.convscope-panels .sign { font-size: 1.3em }
</style>"""


def cells(panel: Panel, digits: int) -> tuple[list[list[str]], str]:
    """The numbers as words, row by row, and the power of ten they are to be multiplied with ('' for 1).

    >>> none = np.zeros((1, 3), bool)
    >>> cells(Panel("x", np.array([[0.00125, -0.01, 0.0]]), none, none, 1.0), 3)
    ([['1.2', '−10.0', '0']], '·10⁻³')
    """
    values = np.asarray(panel.values, np.float64)
    sizes = np.abs(values[np.isfinite(values)])
    largest = float(sizes.max()) if sizes.size else 0.0
    power = 3 * int(np.floor(np.log10(largest) / 3)) if largest and not 0.1 <= largest < 1e4 else 0
    scaled = values / 10.0**power
    top = float(np.abs(scaled[np.isfinite(scaled)]).max()) if largest else 0.0
    decimals = max(0, digits - 1 - max(int(np.floor(np.log10(top))), 0)) if top else 0
    whole = bool((sizes == np.rint(sizes)).all()) and not power
    rows = [[_cell(v, 0 if whole else decimals, bool(out)) for v, out in zip(row, outs, strict=True)]
            for row, outs in zip(scaled, panel.outside, strict=True)]
    return rows, "·10" + str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")) if power else ""


def beside(panels: Sequence[Panel], signs: Sequence[str], width: int) -> list[Text]:
    """Matrices side by side, each after its sign (' × '), in at most `width` columns: fewer digits first, then more rows."""
    for digits in (3, 2):
        blocks = [_block(panel, digits) for panel in panels]
        if sum(_width(b) for b in blocks) + sum(map(len, signs)) <= width:
            return _joined(blocks, signs)
    lines: list[Text] = []
    blocks = [_block(panel, 3 if _width(_block(panel, 3)) + 4 <= width else 2) for panel in panels]
    start = 0
    for stop in range(1, len(blocks) + 1):
        room = sum(_width(b) for b in blocks[start:stop + 1]) + sum(map(len, signs[start:stop + 1]))
        if stop == len(blocks) or room > width:
            lines += _joined(blocks[start:stop], [signs[start] if signs[start].strip() else "", *signs[start + 1:stop]])
            start = stop
    return lines


def html(panels: Sequence[Panel], signs: Sequence[str]) -> str:
    """The same as tables, their cells coloured: red above zero, blue below, on the panel's own scale."""
    pieces: list[str] = []
    for panel, sign in zip(panels, signs, strict=True):
        rows, power = cells(panel, 3)
        body = "".join("<tr>" + "".join(_td(panel, y, x, word) for x, word in enumerate(row)) + "</tr>"
                       for y, row in enumerate(rows))
        part = f"<br>{escape(panel.part)}" if panel.part else ""
        pieces += [f'<span class="sign">{escape(sign.strip())}</span>'] if sign.strip() else []
        pieces.append(f"<table><caption>{escape(clean(panel.name))}{power}{part}</caption><tbody>{body}</tbody></table>")
    return f'<div class="convscope-panels">{"".join(pieces)}</div>'


def widest(panel: Panel, digits: int = 2) -> int:
    """Columns that one number of this panel takes, with the space before it."""
    rows, _ = cells(panel, digits)
    return 1 + max((len(word) for row in rows for word in row), default=1) + _starred(panel)


def _cell(value: float, decimals: int, outside: bool) -> str:
    if outside and value == 0:
        return PADDING
    if not np.isfinite(value):
        return "nan" if np.isnan(value) else "∞" if value > 0 else "−∞"
    return "0" if value == 0 else f"{value:.{decimals}f}".replace("-", "−")


def _starred(panel: Panel) -> bool:
    """Are some cells to be told from the others?"""
    return bool(panel.marked.any() and not panel.marked.all())


def _block(panel: Panel, digits: int) -> list[Text]:
    """One matrix: its name, then its rows, all of one width."""
    rows, power = cells(panel, digits)
    star = _starred(panel)
    wide = max((len(word) for row in rows for word in row), default=1)
    block = [Text(panel.name + power)]
    if panel.part:
        block.append(Text(panel.part, style="dim"))
    for y, row in enumerate(rows):
        line = Text()
        for x, word in enumerate(row):
            marked = bool(star and panel.marked[y, x])
            style = "bold reverse" if marked else "dim" if panel.outside[y, x] or word == "0" else _tone(panel, y, x)
            line.append(" " * (x > 0)).append(word.rjust(wide) + ("*" if marked else " " if star else ""), style=style)
        block.append(line)
    return block


def _tone(panel: Panel, y: int, x: int) -> str:
    """Colour for the strong ones only, so that they are seen."""
    value = float(panel.values[y, x])
    if not abs(value) >= 0.5 * panel.limit:
        return ""
    return "red" if value > 0 else "blue"


def _width(block: Sequence[Text]) -> int:
    return max(cell_len(line.plain) for line in block)


def _joined(blocks: Sequence[Sequence[Text]], signs: Sequence[str]) -> list[Text]:
    """Blocks of lines next to each other, the sign of each in the middle of its height."""
    high = max(map(len, blocks))
    lines: list[Text] = []
    for y in range(high):
        line = Text(no_wrap=False)
        for block, sign in zip(blocks, signs, strict=True):
            line.append(sign if y == (high + 1) // 2 else " " * len(sign))
            cell = block[y] if y < len(block) else Text()
            line.append_text(cell).append(" " * (_width(block) - cell_len(cell.plain)))
        line.rstrip()
        lines.append(line)
    return lines


def _td(panel: Panel, y: int, x: int, word: str) -> str:
    value = float(panel.values[y, x])
    share = min(abs(value) / panel.limit, 1.0) if panel.limit and np.isfinite(value) else 0.0
    colour = f' style="background: rgba({RED if value > 0 else BLUE}, {0.65 * share:.2f})"' if share >= 0.005 else ""
    kinds = " ".join(kind for kind, on in (("outside", panel.outside[y, x]), ("marked", panel.marked[y, x])) if on)
    named = f' class="{kinds}"' if kinds else ""
    return f"<td{named}{colour}>{word}</td>"
