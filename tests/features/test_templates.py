"""Planted patterns are found again, with their parameters; noise is no pattern.

Turns red: in `features/_named.py`, `np.arctan2(-self.linear[1], …)` -> `np.arctan2(self.linear[1], …)`; in `_patterns.py`,
`exp(−2…)` with `p["aspect"]` left out.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from convscope.errors import UnknownName, UsageError
from convscope.features import _patterns
from convscope.features.templates import Templates
from convscope.network import Network
from convscope.results import Table
from tests.contracts.leaves import opened

Array = NDArray[np.float64]


def network(weights: Array) -> Network:
    """A convolution with the weights (U, C, h, w)."""
    model = nn.Conv2d(weights.shape[1], len(weights), weights.shape[2:], bias=False).double()  # type: ignore[arg-type]
    with torch.no_grad():
        model.weight[:] = torch.from_numpy(weights)
    return Network.open(model, torch.zeros(1, weights.shape[1], 32, 32, dtype=torch.float64))


def fitted(*planes: Array) -> Table:
    return Templates()(network(np.stack(planes)[:, None]), "conv2d")


def gabor(size: int, orientation: float, wavelength: float, phase: float, sigma: float, aspect: float,
          right: float = 0.0, down: float = 0.0) -> Array:
    """A Gabor of peak 1, pixel by pixel: angles in degrees, counterclockwise as one sees it."""
    found = np.zeros((size, size))
    t, middle = np.radians(orientation), (size - 1) / 2
    for i in range(size):
        for j in range(size):
            x, y = j - middle - right, -(i - middle - down)
            u, v = x * np.cos(t) + y * np.sin(t), -x * np.sin(t) + y * np.cos(t)
            bell = np.exp(-(u * u + aspect**2 * v * v) / (2 * sigma**2))
            found[i, j] = bell * np.cos(2 * np.pi * u / wavelength + np.radians(phase))
    return found


PLANTED = [(0, 5.0, 0, 2.2, 0.7), (30, 4.0, 60, 2.0, 1.0), (75, 6.0, -90, 2.5, 0.6), (90, 3.0, 20, 1.8, 0.8),
           (120, 5.0, 150, 2.3, 0.9), (165, 7.0, -40, 2.6, 0.5)]


def test_planted_gabors_are_recovered_under_noise() -> None:
    rng = np.random.default_rng(0)
    clean = [gabor(11, *p, right=0.6, down=-0.8) for p in PLANTED]
    found = fitted(*(0.3 * g + 0.05 + 0.02 * rng.standard_normal(g.shape) for g in clean)).columns
    assert found["best"].tolist() == ["gabor"] * len(PLANTED)
    wanted = np.array(PLANTED).T
    assert np.abs((found["orientation"] - wanted[0] + 90) % 180 - 90).max() < 3
    np.testing.assert_allclose(found["wavelength"], wanted[1], rtol=0.08)
    assert np.abs((found["phase"] - wanted[2] + 180) % 360 - 180).max() < 25  # a centre off by 0.1 px turns it by 360·0.1/λ
    np.testing.assert_allclose(found["sigma"], wanted[3], rtol=0.12)
    np.testing.assert_allclose(found["aspect"], wanted[4], rtol=0.15)
    np.testing.assert_allclose(found["right"], 0.6, atol=0.25)
    np.testing.assert_allclose(found["down"], -0.8, atol=0.25)
    np.testing.assert_allclose(found["offset"], 0.05, atol=0.02)
    assert found["r2"].min() > 0.85


def test_the_numbers_alone_draw_the_fit_again() -> None:
    rng = np.random.default_rng(1)
    planes = [gabor(9, *p) + 0.1 * rng.standard_normal((9, 9)) for p in PLANTED]
    columns = fitted(*planes).columns
    for u, plane in enumerate(planes):
        numbers = [columns[k][u] for k in ("orientation", "wavelength", "phase", "sigma", "aspect", "right", "down")]
        drawn = gabor(9, *numbers)  # type: ignore[arg-type]
        drawn = drawn * 2 * columns["amplitude"][u] / (drawn.max() - drawn.min()) + columns["offset"][u]
        left = ((plane - drawn) ** 2).sum()
        assert columns["r2"][u] == pytest.approx(1 - left / ((plane - plane.mean()) ** 2).sum(), abs=1e-6)
        assert columns["raw"][u] == pytest.approx(1 - left / (plane**2).sum(), abs=1e-6)
        assert columns["adjusted"][u] == pytest.approx(1 - (1 - columns["r2"][u]) * 80 / (81 - 9))


def test_sobel_is_an_edge_from_dark_to_bright() -> None:
    right = np.array([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    found = fitted(right, right.T[::-1], -right, right + 0.5).columns
    assert found["best"].tolist() == ["edge"] * 4
    np.testing.assert_allclose(found["orientation"], [0, 90, 180, 0], atol=1e-3)
    np.testing.assert_allclose(found["sigma"], 1 / np.sqrt(2 * np.log(2)), rtol=1e-3)  # two to one between middle and corner
    np.testing.assert_allclose(found["r2"], 1, atol=1e-6)
    np.testing.assert_allclose(found["offset"], [0, 0, 0, 0.5], atol=1e-6)
    np.testing.assert_allclose(found["amplitude"], 2, rtol=1e-4)


def test_simple_patterns_have_their_names() -> None:
    i, j = np.indices((9, 9))
    x, y = j - 4.0, 4.0 - i
    blob = np.exp(-((x - 1) ** 2 + (y + 0.5) ** 2) / (2 * 1.5**2))
    surround = np.exp(-(x**2 + y**2) / 2) - 0.4 * np.exp(-(x**2 + y**2) / (2 * 1.6**2))
    u = (x + y) / np.sqrt(2)
    line = -(1 - u**2 / 1.44) * np.exp(-(x**2 + y**2) / 2.88)
    checker = 0.1 * (1.0 - 2.0 * ((i + j) % 2))
    found = fitted(blob, -blob, surround, line, checker, np.full((9, 9), 0.3), np.zeros((9, 9))).columns
    assert found["best"].tolist() == ["blob", "blob", "centre-surround", "line", "checker", "uniform", "none"]
    assert found["polarity"].tolist() == ["bright", "dark", "bright", "dark", "bright", "", ""]
    np.testing.assert_allclose([found["right"][0], found["down"][0], found["sigma"][0]], [1, 0.5, 1.5], atol=1e-3)
    assert found["orientation"][3] == pytest.approx(45, abs=0.1)
    assert found["sigma"][3] == pytest.approx(1.2, abs=1e-2)
    assert found["amplitude"][4] == pytest.approx(0.1)
    assert (found["r2"][5], found["raw"][5], found["offset"][5]) == (0, pytest.approx(1), pytest.approx(0.3))
    assert np.isnan(found["r2"][6])
    small = fitted(np.array([[0.0, 1, 0], [1, 2, 1], [0, 1, 0]]), checker[:3, :3]).columns
    assert small["best"].tolist() == ["blob", "checker"]
    assert "right" not in small  # on 3×3 the centre is not fitted


def test_noise_is_no_pattern_and_the_rate_of_chance_is_said() -> None:
    rng = np.random.default_rng(2)
    found = fitted(*rng.standard_normal((20, 9, 9)))
    assert (found.columns["best"] == "none").all()
    assert "20 of 20 filters fit none: no pattern reaches an adjusted R² of 0.5" in found.notes
    assert found.notes[-1] == "by chance: 0% of 200 such kernels of white noise fit one (seed 0, grid only)"
    assert found.columns["r2"].max() == pytest.approx(np.nanmax(found.columns["scores"]), abs=0.2)
    tiny = fitted(*rng.standard_normal((200, 3, 3)))
    said = int(tiny.notes[-1].split(":")[1].split("%")[0])
    assert abs(said - 100 * (tiny.columns["best"] != "none").mean()) < 8  # what chance does, another draw of noise does


def test_a_pattern_has_at_most_half_as_many_parameters_as_there_are_weights() -> None:
    assert [p.name for p in _patterns.patterns((3, 3))] == ["edge", "line", "blob", "checker"]
    for size in ((3, 3), (5, 3), (4, 4), (5, 5), (7, 7)):
        assert all(2 * p.parameters <= size[0] * size[1] for p in _patterns.patterns(size))
    assert [p.name for p in _patterns.patterns((5, 5))] == [p.name for p in _patterns.KINDS]


def test_the_plane_is_what_was_asked_for_and_its_share_is_said() -> None:
    edge = np.array([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    opponent = np.stack([edge, -2 * edge, 0.5 * edge.T])[None]  # red against green
    net = network(opponent)

    def asked(view: str, channel: int = 0) -> dict[str, NDArray]:
        return Templates(view=view, channel=channel)(net, "conv2d").columns

    total = (opponent**2).sum()
    assert asked("strongest")["channel"].tolist() == [1]
    assert asked("strongest")["orientation"][0] == pytest.approx(180, abs=1e-3)
    assert asked("strongest")["share"][0] == pytest.approx(4 * 12 / total)
    assert asked("channel", 2)["orientation"][0] == pytest.approx(270, abs=1e-3)  # rows fall: bright below
    assert asked("grey")["share"][0] == pytest.approx((opponent.sum(1) ** 2).sum() / 3 / total)
    assert asked("principal")["share"][0] == pytest.approx(5 * 12 / total)  # red and green are one pattern
    assert asked("principal")["orientation"][0] == pytest.approx(180, abs=1e-3)  # green has the largest weight
    assert asked("auto")["share"][0] == asked("principal")["share"][0]
    assert asked("norm")["share"][0] == pytest.approx(1)
    assert "signs are lost" in Templates(view="norm")(net, "conv2d").notes[0]
    with pytest.raises(UnknownName, match="no input channel 3 in conv2d; each filter reads 3; use 0 … 2"):
        asked("channel", 3)


def test_one_unit_says_what_it_says_among_others() -> None:
    net = opened("plain")[2]
    alone, among = Templates()(net, "conv2/3").columns, Templates()(net, "conv2").columns
    assert alone["unit"].tolist() == [3]
    assert alone["best"][0] == among["best"][3]
    np.testing.assert_allclose(alone["r2"][0], among["r2"][3], rtol=1e-9)
    assert Templates(most=2)(net, "conv2").notes[0] == "the first 2 of 8 units"


def test_kernels_without_a_pattern_are_refused() -> None:
    with pytest.raises(UsageError, match=r"kernels of conv2 are 1×3; too small to hold a pattern; .* at least 3×3"):
        Templates()(opened("non_square")[2], "conv2")
    with pytest.raises(UnknownName, match="no layer with filters named 'pool1'"):
        Templates()(opened("plain")[2], "pool1")
