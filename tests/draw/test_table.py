"""table: every shown cell is its number, arrays are abbreviated, what is not shown is said.

Mutations that turn it red: `cells[:shown]` -> `cells[::-1][:shown]`; `_rows` without the counts; `right=True` for all.
"""

from __future__ import annotations

import re

import numpy as np

from convscope import draw
from convscope.draw import table as drawer
from convscope.results import Table

TABLE = Table(columns={"unit": np.arange(2), "name": np.array(["a", "b"]), "max": np.array([12.5, -0.25]),
                       "dead": np.array([True, False]), "top": np.arange(20).reshape(2, 10)},
              units={"max": "largest activation, score"}, title="units", notes=("n",))


def test_cells_read_as_they_are() -> None:
    lines = draw.text(TABLE, 100).splitlines()
    assert lines[0] == "units  2 rows"
    assert re.split(r"  +", lines[3].strip()) == ["0", "a", "12.50", "yes", "0 1 2 3 4 5 … (10)"]
    assert re.split(r"  +", lines[4].strip()) == ["1", "b", "−0.25", "no", "10 11 12 13 14 15 … (10)"]
    assert lines[-2:] == ["max: largest activation, score", "n"]


def test_the_last_columns_leave_a_narrow_terminal_first() -> None:
    text = draw.text(TABLE, 40)
    assert text.splitlines()[1].split() == ["unit", "name", "max", "dead"]
    assert "left out at this width: top" in text


def test_numbers_stand_right_words_left() -> None:
    assert [c.right for c in drawer.renderable(TABLE).columns] == [True, False, True, True, False]


def test_long_tables_say_how_much_is_shown() -> None:
    long = Table(columns={"i": np.arange(2048)})
    assert draw.text(long).splitlines()[0] == "table  60 of 2,048 rows (.csv, .json and .npz hold all)"
    assert len(drawer.records(long)[1]) == 2048
    assert "60 of 2,048 rows" in " ".join(t.get_text() for t in long.plot().texts)


def test_a_wide_table_names_what_does_not_fit_on_the_sheet() -> None:
    wide = Table(columns={f"a long column name {i}": np.arange(3) for i in range(30)})
    figure = wide.plot()
    assert figure.get_size_inches()[0] < 14
    assert "left out for width: a long column name" in " ".join(t.get_text() for t in figure.texts)
