"""listing: columns leave from the highest rank and are named, addresses fold, HTML is escaped and balanced.

Mutations that turn it red: `key=lambda c: -self.columns[c].rank` without the minus (order); the line of what left removed;
`escape` dropped in `_html_row`; `room` computed without `_GAP` (fold).
"""

from __future__ import annotations

import io
from html.parser import HTMLParser

from rich.console import Console

from convscope.draw.listing import Column, Listing

COLUMNS = (Column("layer"), Column("operator", rank=2), Column("size", right=True, rank=1))
LONG = "features.10.expand3x3_activation"


def lines(listing: Listing, width: int) -> list[str]:
    stream = io.StringIO()
    Console(width=width, color_system=None, file=stream).print(listing)
    return [line.rstrip() for line in stream.getvalue().splitlines()]


def test_all_columns_where_there_is_room_and_words_for_those_that_left() -> None:
    listing = Listing("title", COLUMNS, [["conv", "conv2d", "64×55×55"]], ["total", "", "1"], ("a note",))
    rule = "─" * 25
    assert lines(listing, 80)[:5] == ["title", "layer  operator      size", rule, "conv   conv2d    64×55×55", rule]
    assert lines(listing, 25)[1].split() == ["layer", "operator", "size"]
    assert lines(listing, 24)[1].split() == ["layer", "size"]
    assert "left out at this width: operator (a" in " ".join(lines(listing, 24))
    assert lines(listing, 14)[1].split() == ["layer"]
    assert "operator, size" in " ".join(lines(listing, 14))


def test_what_repeats_the_row_above_folds_before_it_breaks() -> None:
    listing = Listing("", (Column("layer"), Column("n", right=True)), [[LONG, "1"], [LONG, "2"]], faint=(0, 12))
    assert lines(listing, 35)[2:4] == [LONG + "  1", LONG + "  2"]
    for width in (34, 30):
        narrow = lines(listing, width)
        assert narrow[-2].split() == ["…expand3x3_activation", "2"]
        assert "".join(line[:width - 3].strip() for line in narrow[2:4]) == LONG  # broken over two lines, not cut


class Balanced(HTMLParser):
    """Counts that every element opened is closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_html_is_balanced_and_says_the_same_words() -> None:
    nasty = '<b title="x">&amp;</b>'
    reader = Balanced()
    reader.feed(Listing(nasty, (Column(nasty, meaning=nasty),), [[nasty]], [nasty], (nasty,)).html())
    assert not reader.open
    assert [w for w in reader.words if "title" in w and "{" not in w] == [nasty] * 5


def test_nothing_at_all() -> None:
    assert lines(Listing("", (), []), 80) == []
    assert "<table" not in Listing("", (), []).html()
