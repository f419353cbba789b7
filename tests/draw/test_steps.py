"""steps: every number shown is right, the check is always said, nothing is wider than asked, words from outside stay words.

Mutations that turn it red: `-np.abs(made)` -> `made` in `terms_listing` (the largest); `np.delete(made, order)` -> `made`
(what the others come to); `<=` -> `>=` in `panels.agrees`; `escape` dropped in `html`; `result.check` and `result.value`
swapped in `check`; `yield Text(check…` dropped.
"""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image

from convscope import draw
from convscope.draw import steps as drawer
from convscope.operators.conv import Conv
from convscope.results import Grid, Line, Steps, Terms
from tests.draw import samples

CHECK = "check: autograd says 0.123456789, ours differs by 1.1e-16"


def steps(**changed: object) -> Steps:
    """A bare number."""
    bare = Steps(title="relu/3", layer="relu", operator="relu", direction="forward", at=(0, 3), formula="y = max(x, 0)",
                 lines=(Line("y = max(0.123457, 0)", 0.123456789),), value=0.123456789, check=0.123456789 + 1.1e-16)
    return replace(bare, **changed)  # type: ignore[arg-type]


def row(n: int) -> Terms:
    """A dense row: x[i] · weight[i] with known values."""
    at = np.arange(n)[:, None]
    return Terms("x[0]", "weight[7]", at, at, np.arange(1.0, n + 1), np.where(np.arange(n) % 2, -1.0, 1.0) / n)


def convolution(channels: int, kernel: int, at: tuple[int, ...], direction: str = "forward") -> Steps:
    """A real working of a convolution with padding 1."""
    rng = np.random.default_rng(0)
    side = kernel + 6
    x, weight = rng.normal(size=(1, channels, side, side)), rng.normal(size=(5, channels, kernel, kernel))
    operator = Conv(stride=(1, 1), padding=(1, 1), dilation=(1, 1))
    delta = rng.normal(size=operator.output_shape(x.shape, weight.shape))
    working = (operator.explain_value(at, x, weight) if direction == "forward"
               else operator.explain_gradient({"input": 0, "weights": 1}[direction], at, delta, x, weight))
    return Steps(title="conv1", layer="conv1", operator="conv2d", direction=direction, at=at, formula=working.formula,
                 lines=working.lines, value=working.value, check=working.value, grids=working.grids, terms=working.terms)


REAL = {
    "5×5×1": convolution(1, 5, (0, 2, 0, 0)), "11×11×3": convolution(3, 11, (0, 2, 4, 4)),
    "3×3×512": convolution(512, 3, (0, 2, 6, 6)), "1×1×64": convolution(64, 1, (0, 2, 3, 3)),
    "a delta": convolution(4, 5, (0, 1, 5, 5), "input"), "a weight": convolution(2, 3, (3, 1, 0, 2), "weights"),
    "dense": steps(terms=row(400), grids=(Grid("x", np.arange(1.0, 401)),)),
    "lines": steps(lines=(Line("c = 1", 1.0),) * 40), "bare": steps(lines=()),
}


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("width", [30, 80, 100])
def test_the_check_is_always_said_and_nothing_is_too_wide(name: str, width: int) -> None:
    text = draw.text(REAL[name], width)
    assert "check: autograd says" in text
    assert max(map(len, text.splitlines())) <= width
    assert len(text.splitlines()) < 170


def numbers(row: str) -> list[float]:
    return [float(word.replace("−", "-")) for word in row.split()]


def test_factors_and_products_stand_side_by_side_and_multiply() -> None:
    lines = draw.text(REAL["3×3×512"], 100).splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("x[0]["))
    assert re.fullmatch(r"x\[0\]\[\d+, 5…7, 5…7\] +weight\[2\]\[\d+, 0…2, 0…2\] +products", lines[start])
    middle = lines[start + 2]
    left, right, product = (numbers(part) for part in re.split("[×=]", middle))
    assert np.allclose(np.multiply(left, right), product, atol=0.03)
    assert re.search(r"3 of 512 channels shown, \d+ % of Σ\|product\|; the others come to", "\n".join(lines))


def test_a_flipped_kernel_counts_down() -> None:
    assert re.search(r"δ\[0\]\[\d, 2…6, 2…6\] +weight\[\d, 1, 4…0, 4…0\] +products", draw.text(REAL["a delta"], 100))


def test_padding_is_shown_as_such_before_the_first_pixel_and_behind_the_last() -> None:
    first = draw.text(REAL["5×5×1"], 100)
    assert "[0, −1…3, −1…3]" in first
    assert re.search(r"\n +· +· +· +· +· ", first)
    assert "· lies in the padding" in first
    last = draw.text(convolution(1, 3, (0, 2, 8, 8)), 100)
    assert re.search(r"\n +· +· +· .*\d.*· +· +·\n", last)
    assert "lies in the padding" not in draw.text(convolution(1, 3, (0, 2, 4, 4)), 100)


def test_the_largest_products_come_first_and_the_others_are_summed() -> None:
    listing = drawer.terms_listing(steps(terms=row(101)))
    assert [int(r[0]) for r in listing.rows[:12]] == list(range(100, 88, -1))
    assert [r[4] for r in listing.rows[:3]] == ["1.0000", "−0.9901", "0.9802"]
    assert listing.rows[12][0] == "… 89 more"
    rest = row(101).products[:89].sum()
    assert np.isclose(float(listing.rows[12][4]), rest, rtol=1e-3)
    assert (listing.total[0], float(listing.total[4])) == ("Σ of 101", pytest.approx(row(101).products.sum(), rel=1e-3))


def test_zero_products_are_counted() -> None:
    terms = replace(row(20), left_values=np.repeat([0.0, 1.0], 10))
    assert "10 of 20 products are zero" in draw.text(steps(terms=terms), 80)


@pytest.mark.parametrize(("value", "check", "agrees"), [
    (1.0, 1.0 + 0.9e-10, True), (1.0, 1.0 + 2e-10, False), (0.0, 2e-10, False), (1e6, 1e6 + 5e-5, True),
    (1e6, 1e6 + 5e-4, False), (np.nan, 1.0, False), (np.nan, np.nan, False), (np.inf, np.inf, True)])
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_disagreement_is_said_in_words(value: float, check: float, agrees: bool) -> None:
    result = steps(value=value, check=check)
    said = drawer.check(result)
    assert ("DISAGREE" in said) == (not agrees)
    assert said in " ".join(draw.text(result, 200).splitlines())
    assert said in draw.html(result)
    assert (' class="check agrees"' in draw.html(result)) == agrees
    shown = [t.get_text() for t in result.plot().texts]
    assert said.startswith(next(t for t in shown if t.startswith("check:")))


def test_the_check_line_word_by_word() -> None:
    assert drawer.check(steps()) == CHECK.replace("1.1e-16", f"{steps().difference:.2g}")
    assert drawer.check(steps(value=0.5, check=-0.25)) == (
        "check: autograd says −0.25, ours is 0.5: they DISAGREE by 0.75, more than rounding (1e-10 of the number): one of "
        "the two is wrong")


@pytest.mark.parametrize(("text", "value", "said"), [
    ("y = 1 + 2", 3.0, "y = 1 + 2 = 3"), ("y = 1 + 2 = 3", 3.0, "y = 1 + 2 = 3"), ("y = 3 − 1", 3.0, "y = 3 − 1 = 3"),
    ("y = −0.5 (bias)", -0.5, "y = −0.5 (bias)"), ("√4", 2.0, "√4 = 2"), ("y = 0", 0.0, "y = 0"),
    ("y = 1,000", 1000.0, "y = 1,000"), ("x = 2 > 0: it passes", 2.0, "x = 2 > 0: it passes"),
    ("y = nan", np.nan, "y = nan"), ("1 of 4 numbers won", 4.0, "1 of 4 numbers won"),
    ("a = 2·3 = b", 6.0, "a = 2·3 = b = 6"), ("d = 1 (x = 0.2 > 0: it passes)", 1.0, "d = 1 (x = 0.2 > 0: it passes)"),
    ("y = 4", 3.0, "y = 4 = 3")])
def test_every_line_says_its_value(text: str, value: float, said: str) -> None:
    assert drawer.arithmetic(Line(text, value)) == said


def test_of_very_many_lines_the_middle_is_left_out() -> None:
    lines = tuple(Line(f"h_{i} = {i}", float(i)) for i in range(100))
    shown = drawer.shortened(lines)
    assert (shown[0], shown[30], shown[-1]) == ("h_0 = 0", "… 40 lines left out (.json holds them) …", "h_99 = 99")
    assert len(shown) == 61
    assert all(f"h_{i} = {i}" in draw.text(steps(lines=lines[:40]), 80) for i in range(40))


def test_marked_cells_and_a_large_grid() -> None:
    marked = Grid("window", np.arange(1.0, 10).reshape(1, 3, 3), (0, 4, 4), marked=((0, 2, 1),))
    text = draw.text(steps(grids=(marked,)), 80)
    assert "window[0, 4…6, 4…6]" in text
    assert re.search(r"\n7 +8\* +9", text)
    assert "*: in play" in text
    assert draw.html(steps(grids=(marked,))).count('class="marked"') == 1
    large = Grid("y", np.zeros((1, 30, 40)), (0, 0, 0), marked=((0, 20, 30),))
    assert "rows 15–26 of 30, columns 25–36 of 40" in draw.text(steps(grids=(large,)), 80)


def test_html_escapes_and_holds_its_pictures() -> None:
    page = draw.html(samples.nasty_steps())
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "http" not in page
    page = draw.html(samples.steps(np.random.default_rng(0), 2))
    found = re.findall(r'<img alt="image \d" src="data:image/png;base64,([^"]+)"', page)
    sizes = [Image.open(io.BytesIO(base64.b64decode(data))).size for data in found]
    assert [(h, w) for w, h in sizes] == [c.shape[:2] for c in samples.steps(np.random.default_rng(0), 2).crops]
    assert page.count("<caption>") == 8  # two channels of x, weight and products; a gate; y
    assert 'class="outside"' in page


def test_the_table_is_listed_where_there_is_one() -> None:
    result = steps(direction="update", table={"example": np.arange(3), "gradient": np.array([0.5, -0.25, 0.125])},
                   units={"gradient": "∂L/∂w of this example"})
    text = draw.text(result, 80)
    assert re.search(r"\n +1 +−0\.2500\n", text)
    assert "gradient: ∂L/∂w of this example" in text
    assert drawer.records(result) == (["example", "gradient"], [[0, 0.5], [1, -0.25], [2, 0.125]])


def test_csv_holds_every_product_or_else_every_line() -> None:
    header, rows = drawer.records(REAL["5×5×1"])
    assert header == ["x[0] at", "x[0]", "weight[2] at", "weight[2]", "product"]
    assert rows[0][::2] == ["0 -1 -1", "0 0 0", 0.0]
    assert sum(r[4] for r in rows) == pytest.approx(REAL["5×5×1"].value, abs=1e-12)
    assert drawer.records(steps()) == (["line", "value"], [["y = max(0.123457, 0)", 0.123456789]])


@pytest.mark.parametrize("name", REAL)
def test_every_sheet_is_drawn_and_nothing_lies_on_anything(name: str) -> None:
    figure = REAL[name].plot()
    wide, high = figure.get_size_inches()
    assert wide < 15
    assert high < 16
    assert any(t.get_text().startswith("check:") for t in figure.texts)
    figure.canvas.draw()
    boxes = [ax.get_window_extent() for ax in figure.axes]
    words = [(t.get_text(), t.get_window_extent()) for t in figure.texts if isinstance(t, Text) and t.get_text()]
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:i])
        assert not [text for text, extent in words if extent.overlaps(box)]
    for i, (text, extent) in enumerate(words):
        assert extent.x0 >= 0
        assert extent.x1 <= wide * figure.dpi, text
        assert not [other for other, beside in words[:i] if extent.overlaps(beside)], text
