"""matrices: points under points, zero and nearly zero told apart, fewer digits before more rows.

Mutations that turn it red: `"0" if value == 0` dropped in `_cell`; `10.0**power` -> `1` in `cells`; `for digits in (3, 2)`
-> `(3,)` in `beside`; `max(abs(value)…, 1.0)` instead of `min` in `_td`.
"""

from __future__ import annotations

import re

import numpy as np
import pytest

from convscope.draw import matrices
from convscope.draw.panels import Panel


def panel(values: object, limit: float = 1.0) -> Panel:
    numbers = np.atleast_2d(np.asarray(values, np.float64))
    return Panel("x[0…2]", numbers, np.zeros(numbers.shape, bool), np.zeros(numbers.shape, bool), limit)


@pytest.mark.parametrize(("values", "words", "power"), [
    ([0.5, -0.25, 0.0, 1e-9], ["0.50", "−0.25", "0", "0.00"], ""), ([12.5, 3], ["12.5", "3.0"], ""),
    ([3, -4, 0], ["3", "−4", "0"], ""), ([2e-5, -3.25e-6], ["20.0", "−3.2"], "·10⁻⁶"), ([2e7, 1e5], ["20.0", "0.1"], "·10⁶"),
    ([np.nan, np.inf, -np.inf], ["nan", "∞", "−∞"], ""), ([0.0], ["0"], ""), ([-0.0, 1.5], ["0", "1.50"], "")])
def test_numbers_as_words(values: list[float], words: list[str], power: str) -> None:
    assert matrices.cells(panel(values), 3) == ([words], power)


def test_fewer_digits_come_before_more_rows() -> None:
    three = [panel(np.full((2, 5), v)) for v in (0.12, -0.34, -0.05)]
    signs = ("", " × ", " = ")
    heights = {width: len(matrices.beside(three, signs, width)) for width in (120, 70, 60, 34)}
    assert heights[120] == heights[70] == 3
    assert heights[60] == 6
    assert heights[34] == 9
    for width in heights:
        assert all(len(line.plain) <= width for line in matrices.beside(three, signs, width))
    assert matrices.beside(three, signs, 120)[2].plain.count("×") == 1


def test_a_cell_is_as_red_or_blue_as_its_number() -> None:
    page = matrices.html([panel([1.0, -0.5, 0.0, 5.0, np.nan])], ("",))
    cells = re.findall(r"<td( style=\"[^\"]*\")?>([^<]*)</td>", page)
    assert [word for _, word in cells] == ["1.00", "−0.50", "0", "5.00", "nan"]
    reds = [re.search(r"200, 40, 40, ([\d.]+)", style) for style, _ in cells]
    assert [float(found.group(1)) if found else 0 for found in reds] == [0.65, 0, 0, 0.65, 0]
    assert "40, 100, 210, 0.33" in cells[1][0] or "40, 100, 210, 0.32" in cells[1][0]
