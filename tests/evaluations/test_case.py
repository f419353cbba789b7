"""What measures share: fills, rank correlation, how a map is read.

Turns red: in `evaluations/_fill.py`, `2 * sigma**2` -> `sigma**2` · in `_case.evidence`, without `np.abs`.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage, stats
from torch import Tensor, nn

from convscope.evaluations import _fill
from convscope.evaluations._case import Case, area, evidence, spearman
from convscope.results import Heatmap
from convscope.run import Target
from tests.contracts.leaves import opened
from tests.evaluations.linear import heat

RNG = np.random.default_rng(0)


def twin_curve(model: nn.Module, x: Tensor, end: Tensor, values: np.ndarray, steps: int, index: int) -> np.ndarray:
    """The paper's loop: one image, one pixel after the other, softmax of the user's own module."""
    order = sorted(np.ndindex(*values.shape), key=lambda at: -values[at])
    stops = np.rint(np.linspace(0, len(order), steps + 1))
    found, image = [], x.clone()
    for k in range(len(order) + 1):
        if k in stops:
            with torch.no_grad():
                found.append(float(model(image[None])[0].softmax(0)[index]))
        if k < len(order):
            i, j = order[k]
            image[:, i, j] = end[:, i, j]
    return np.array(found)


def test_the_blur_is_scipys_gaussian() -> None:
    x = torch.from_numpy(RNG.standard_normal((2, 3, 24, 20)))
    found = _fill.blurred(x, 2.5)
    expected = ndimage.gaussian_filter(x.numpy(), (0, 0, 2.5, 2.5), mode="mirror", radius=(0, 0, 5, 5))
    np.testing.assert_allclose(found, expected, atol=1e-12)
    _, said = _fill.fill(opened("plain")[2], x.float(), "blur", 2.5)
    assert said == "the image blurred by a Gaussian of σ = 2.5 px, cut at 5 px"
    assert _fill.usual_sigma(torch.zeros(1, 3, 224, 300)) == 5
    assert torch.equal(_fill.blurred(torch.ones(1, 1, 1, 5), 2.0), torch.ones(1, 1, 1, 5))


def test_spearman_is_scipys_with_ties_too() -> None:
    a, b = RNG.integers(0, 5, (2, 9, 9)).astype(float)
    np.testing.assert_allclose(spearman(a, b), stats.spearmanr(a.reshape(-1), b.reshape(-1)).statistic)
    assert spearman(a, np.exp(a)) == pytest.approx(1)
    assert spearman(a, -a) == pytest.approx(-1)
    assert spearman(a, np.zeros((9, 9))) == 0


def test_a_slope_ranks_by_its_size_and_a_contribution_by_its_sign() -> None:
    values = np.array([[[[1.0, -3.0]], [[-2.0, 1.0]]]])
    both: dict[str, Heatmap] = {
        unit: Heatmap(values=values, images=np.zeros((1, 1, 2, 3), np.uint8), targets=("0",), scores=np.zeros(1), unit=unit)
        for unit in ("score per input unit", "score")}
    assert evidence(both["score per input unit"]).tolist() == [[[2.0, 3.0]]]
    assert evidence(both["score"]).tolist() == [[[-1.0, -2.0]]]


def test_chances_are_the_softmax_of_the_users_own_module() -> None:
    model, x, net = opened("residual")
    many = torch.cat([x] * 20)
    found = Case(net, x, Target("3", 3), heat(np.zeros((2, 16, 16)))).chances(many)
    np.testing.assert_allclose(found, model(many).softmax(1)[:, 3].detach(), atol=1e-5)


def test_the_area_under_a_line() -> None:
    assert area(np.array([1.0, 0.5, 0.0]), np.array([0.0, 0.5, 1.0])) == 0.5
    assert area(np.array([1.0, 1.0, 0.0]), np.array([0.0, 0.9, 1.0])) == pytest.approx(0.95)
