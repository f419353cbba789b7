"""ledger: every line stands beneath its row, in columns that run through; nothing is wider than the terminal.

Mutations that turn it red: in `Ledger._folded`, `room = width`; in `Ledger._table`, the lines below before their row; in
`_folds`, `<= room + 9`; `escape` left out of `_span`; in `Ledger._row`, the pieces after the first dropped.
"""

from __future__ import annotations

import re

import pytest
from rich.cells import cell_len
from rich.console import Console

from convscope.draw import ledger
from convscope.draw.ledger import Ledger
from convscope.draw.listing import Column

SIZES = "(55 − 1)·4 + 1 = 217; 217 + 11 − 1 = 227; 227 + 1 unread = 228; 228 − 2 − 2 = 224"
LEDGER = Ledger(
    "two", (Column("layer"), Column("operator", rank=1), Column("MACs", right=True)),
    [["features.conv", "conv2d", "70"], ["features.relu", "relu", "0"]], ["total", "", "70"], ("a note",), (0, 9),
    [[["∂L/∂x", "7,000", SIZES], ["∂L/∂weight", "70", "227 − 217 + 1 = 11"]], [["∂L/∂x", "", "<b>"]]],
    (Column("gradient"), Column("MACs", right=True), Column("sizes")))


def text(made: Ledger, width: int) -> list[str]:
    console = Console(width=width, color_system=None, force_terminal=False)
    with console.capture() as seen:
        console.print(made)
    return [line.rstrip() for line in seen.get().splitlines()]


def test_lines_stand_beneath_their_row() -> None:
    assert text(LEDGER, 120) == [
        "two",
        "layer          operator  MACs",
        "─────────────────────────────",
        "features.conv  conv2d      70",
        f"  ∂L/∂x       7,000  {SIZES}",
        "  ∂L/∂weight     70  227 − 217 + 1 = 11",
        "features.relu  relu         0",
        "  ∂L/∂x              <b>",
        "─────────────────────────────",
        "total                      70",
        "",
        "a note",
    ]


@pytest.mark.parametrize("width", [42, 50, 64, 90])
def test_what_is_too_long_goes_on_beneath_itself(width: int) -> None:
    lines = text(LEDGER, width)
    assert max(map(cell_len, lines)) <= width
    start = next(i for i, line in enumerate(lines) if "∂L/∂x" in line)
    end = next(i for i, line in enumerate(lines) if "weight" in line)
    column = lines[start].index("(55")
    assert end - start > 1
    assert all(not line[:column].strip() for line in lines[start + 1:end])
    assert " ".join(line[column:] for line in lines[start:end]) == SIZES
    assert not any(line[column:].startswith("=") for line in lines[start:end])


def test_a_long_address_loses_what_repeats_and_is_never_cut() -> None:
    far = "stage.block." + "x" * 40
    made = Ledger("", (Column("layer"), Column("MACs", right=True)), [["stage.block.a", "1"], [far, "22"]], ["total", "23"],
                  faint=(0, 12))
    lines = text(made, 40)
    assert max(map(cell_len, lines)) <= 40
    begun = next(i for i, line in enumerate(lines) if line.startswith("…x"))
    assert lines[begun].endswith("22")
    assert sum(line.count("x") for line in lines) == 40


def test_a_column_leaves_where_there_is_no_room() -> None:
    made = Ledger("", (*LEDGER.columns, Column("notes", rank=9)), [[*row, "n" * 30] for row in LEDGER.rows],
                  below=LEDGER.below, inner=LEDGER.inner)
    assert any("left out at this width: notes" in line for line in text(made, 50))
    assert any("n" * 30 in line for line in text(made, 100))


def test_html_escapes_and_keeps_every_line_beneath_its_row() -> None:
    page = LEDGER.html()
    assert "<b>" not in page
    assert "&lt;b&gt;" in page
    rows = re.findall(r"<tr( class=\"below\")?>", page)
    assert [bool(r) for r in rows] == [False, False, True, True, False, True, False]  # the head, two rows, the total
    assert page.count('colspan="3"') == 3


def test_folds_cut_behind_semicolons() -> None:
    assert ledger._folds("a b; c d; e", 9) == ["a b; c d;", "e"]
    assert ledger._folds("a b; c d; e", 8) == ["a b;", "c d; e"]
    assert ledger._folds("a b; c d; e", 4) == ["a b;", "c d;", "e"]
    assert ledger._folds("", 4) == []
