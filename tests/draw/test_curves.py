"""curves: control and remedy keep their names and numbers, what is not finite is said, labels do not lie on one another.

Mutations that turn it red: `rpartition` -> `partition` in `grouped`; `np.maximum(count, 1)` -> `len(losses)` in `mean`
(a seed that failed would lower the curve); `min(broken) + 1` -> `min(broken)`; `escape` dropped in `svg`.
"""

from __future__ import annotations

import re

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from convscope import draw
from convscope.draw import curves
from convscope.results import Finding, Findings
from tests.draw.samples import NASTY

CONTROL = np.array([[2.0, 2.0, 2.0], [3.0, np.nan, np.inf]])
REMEDY = np.array([[2.0, 1.0, 0.5], [3.0, 2.0, 1.5]])
ARMS = {"control": CONTROL, "remedy": REMEDY}


def test_arms_are_grouped_by_fault() -> None:
    found = curves.grouped({"O2 control": CONTROL, "O2 remedy": REMEDY, "lower rate remedy": REMEDY[0]})
    assert {k: list(v) for k, v in found.items()} == {"O2": ["control", "remedy"], "lower rate": ["remedy"]}
    assert found["lower rate"]["remedy"].shape == (1, 3)


def test_the_mean_is_of_the_finite_seeds_and_the_words_say_which_were_not() -> None:
    assert curves.mean(CONTROL).tolist() == [2.5, 2.0, 2.0]
    assert np.isnan(curves.mean(np.full((2, 1), np.nan))).all()
    said = "loss: control ended or not finite from step 2 in 1 of 2 seeds, remedy 1; after 3 steps, 2 seeds"
    assert curves.sentence(ARMS) == said
    assert curves.sentence({"control": np.zeros((1, 0))}) == "loss: control: no step; after 0 steps, 1 seed"


@pytest.mark.parametrize(("values", "log"), [([1.0, 40.0], True), ([1.0, 20.0], False), ([0.0, 40.0], False),
                                             ([np.nan, 1.0], False), ([-1.0, 40.0], False)])
def test_far_apart_losses_stand_on_a_logarithmic_axis(values: list[float], log: bool) -> None:
    assert curves.logarithmic({"control": np.array([values])}) is log


def test_the_figure_holds_thin_seeds_and_a_thick_mean() -> None:
    figure = Figure()
    FigureCanvasAgg(figure)
    ax = figure.add_subplot()
    curves.paint(ax, ARMS)
    lines = [(line.get_linewidth(), np.asarray(line.get_ydata()).tolist()) for line in ax.lines]
    assert [w for w, _ in lines] == [0.6, 0.6, 1.8] * 2
    assert lines[5][1] == [2.5, 1.5, 1.0]
    figure.canvas.draw()
    names = {t.get_text(): t.get_window_extent() for t in ax.texts}
    assert set(names) == {"control", "remedy"}
    assert not names["control"].overlaps(names["remedy"])


@pytest.mark.parametrize("ends", [(0.5, 0.5), (0.0, 0.01), (1.0, 0.99), (0.2, 0.9)])
def test_labels_stay_apart_and_inside(ends: tuple[float, float]) -> None:
    moved = sorted(curves._apart(dict(zip(("a", "b"), ends, strict=True)), 0.09).values())
    assert moved[1] - moved[0] >= 0.09 - 1e-12
    assert moved[0] >= min(ends) - 0.09
    assert moved[1] <= 1


def test_svg_goes_through_the_numbers_and_escapes() -> None:
    page = curves.svg("O2", {"remedy": np.array([[4.0, 2.0, 0.0]])})
    path = re.findall(r'd="M([\d.]+) ([\d.]+)L([\d.]+) ([\d.]+)L([\d.]+) ([\d.]+)"', page)[0]
    x0, top, x1, middle, x2, bottom = map(float, path)
    assert (top, bottom, middle) == (8.0, 160.0, 84.0)
    assert x1 - x0 == pytest.approx(x2 - x1)
    broken = curves.svg("O2", {"control": np.array([[1.0, np.nan, 3.0, 4.0]])})
    assert re.search(r'd="M[\d. ]+M[\d. ]+L[\d. ]+"', broken)
    assert "<script" not in curves.svg(NASTY, {NASTY: np.ones((1, 2))})
    assert curves.svg("x", {"control": np.full((1, 3), np.nan)}).count("<path") == 0
    assert len(curves.svg("x", {"control": np.ones((3, 100_000))})) < 40_000


def test_findings_show_the_change_the_verdict_and_the_curves() -> None:
    finding = Finding("error", "flat", "head", {}, "two softmaxes", "take one out", "2 → 1", "O2", "- a <b>\n+ c\n  d\te",
                      "it would stay flat", True)
    result = Findings(title="doctor", findings=(finding,), curves={"O2 control": CONTROL, "O2 remedy": REMEDY})
    text = draw.text(result, 100)
    for said in ("error O2 in head: flat", "proof: confirmed: 2 → 1", "would disprove it: it would stay flat",
                 "\n    - a <b>\n", "\n    + c\n", "proof of O2: loss: control ended"):
        assert said in text
    page = draw.html(result)
    assert "<del>- a &lt;b&gt;</del><ins>+ c</ins>" in page
    assert page.count("<svg") == 1
    figure = result.plot()
    assert any(ax.lines for ax in figure.axes)
    drawn = {t.get_text(): t.get_color() for t in figure.texts}
    assert drawn["- a <b>"] != drawn["+ c"] != drawn["  d    e"]
    not_tried = Findings(title="", findings=(Finding("advice", "x", confirmed=False), Finding("advice", "y")))
    assert draw.text(not_tried, 80).count("proof") == 1
    assert "proof: not confirmed" in draw.text(not_tried, 80)
