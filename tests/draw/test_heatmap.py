"""heatmap: one stated scale for all maps, colours by sign, at most eight rows and said so.

Mutations that turn it red: `colours.limit(maps[i], COVERAGE)` per row (shared); `words.shown(…)` dropped (said);
`where=maps > 0` dropped (positive).
"""

from __future__ import annotations

import dataclasses
import re

import numpy as np

from convscope import draw
from convscope.draw import colours
from convscope.draw import heatmap as drawer
from convscope.results import Heatmap
from tests.draw import samples

RNG = np.random.default_rng(0)


def pictures(result: Heatmap) -> list[np.ndarray]:
    return [np.asarray(ax.images[0].get_array()) for ax in result.plot().axes]


def words_on(result: Heatmap) -> str:
    return " ".join(t.get_text() for t in result.plot().texts)


def test_image_map_and_overlay_share_one_scale() -> None:
    result = samples.heatmap(RNG, 3)
    shown = pictures(result)
    assert len(shown) == 3 * 3 + 1  # and a colour bar
    limit = colours.limit(result.map, 0.995)
    for i in range(3):
        assert (shown[3 * i] == result.images[i]).all()
        assert (shown[3 * i + 1] == colours.diverging(result.map[i], limit)).all()
    assert f"scale ±{limit:.3g} score per input unit, shared by all maps" in words_on(result)
    assert "hatched: no number" in words_on(result)
    assert "proof: gap nan · sum −0 · how exact" in words_on(result)


def test_an_outlier_does_not_pale_the_rest_and_is_stated() -> None:
    values = np.ones((1, 1, 40, 40))
    values[0, 0, 0, 0] = 1000
    result = Heatmap(values=values, images=np.zeros((1, 40, 40, 3), np.uint8), targets=("7",), scores=np.ones(1))
    assert drawer.scale(result) == "scale ±1 score per input unit; |values| beyond it (largest 1e+03) saturate"
    assert (pictures(result)[1] == colours.DIVERGING[-1]).all()


def test_at_most_eight_rows_and_said_so() -> None:
    result = samples.heatmap(RNG, 20)
    assert len(pictures(result)) == 8 * 3 + 1
    assert "8 of 20 images drawn" in words_on(result)
    assert draw.text(result, 100).count("tabby") == 20  # the listing has all


def test_rows_add_up() -> None:
    values = np.array([[[[3.0, -1.0], [np.nan, 0.0]]]])
    images = np.zeros((1, 2, 2, 3), np.uint8)
    result = Heatmap(values=values, images=images, targets=("7",), scores=np.ones(1), unit="logits")
    text = draw.text(result, 100)
    assert re.split(r"  +", text.splitlines()[3].strip()) == ["0", "7", "1.000", "−1.000", "3.000", "2.000", "75 %"]
    assert "in logits" in text
    assert "1 pixel without a number, left out" in text


def test_a_map_of_zeros_is_white() -> None:
    images = np.zeros((1, 3, 3, 3), np.uint8)
    result = Heatmap(values=np.zeros((1, 1, 3, 3)), images=images, targets=("7",), scores=np.ones(1))
    assert (pictures(result)[1] == 255).all()
    assert "–" in draw.text(result, 80)


def test_wide_and_high_images_keep_their_shape() -> None:
    for size in ((4, 40), (40, 4)):
        figure = dataclasses.replace(samples.heatmap(RNG, 1, size)).plot()
        w, h = figure.axes[0].get_window_extent().size
        assert abs(np.log((h / w) / (size[0] / size[1]))) < 0.01
