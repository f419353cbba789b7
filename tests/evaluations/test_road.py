"""ROAD's imputation against a system written pixel by pixel from the paper, and the score on a linear network.

Turns red: in `evaluations/road.py`, `1 / 12` -> `1 / 6` · `lerf - morf` -> `morf - lerf`.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from convscope.evaluations.road import Road, impute
from tests.evaluations.linear import case, linear

RNG = np.random.default_rng(0)


def twin(x: np.ndarray, removed: np.ndarray) -> np.ndarray:
    """The same equations, one dense row a pixel."""
    height, width = removed.shape
    system, right = np.eye(height * width), np.zeros((height * width, len(x)))
    for i in range(height):
        for j in range(width):
            if not removed[i, j]:
                right[i * width + j] = x[:, i, j]
                continue
            around = {(i + a, j + b): 1 / 6 if a == 0 or b == 0 else 1 / 12
                      for a in (-1, 0, 1) for b in (-1, 0, 1) if (a, b) != (0, 0)}
            there = {at: w for at, w in around.items() if 0 <= at[0] < height and 0 <= at[1] < width}
            for (k, m), weight in there.items():
                system[i * width + j, k * width + m] -= weight / sum(there.values())
    return np.linalg.solve(system, right).T.reshape(x.shape)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_the_imputation_solves_the_papers_equations(share: float) -> None:
    x, removed = RNG.standard_normal((3, 9, 7)), RNG.random((9, 7)) < share
    np.testing.assert_allclose(impute(x, removed), twin(x, removed), atol=1e-10)


def test_ramps_are_filled_in_exactly_and_ends_are_said() -> None:
    x = np.tile(np.arange(8.0), (8, 1))[None]
    hole = np.zeros((8, 8), bool)
    hole[2:6, 2:6] = True
    np.testing.assert_allclose(impute(x, hole), x, atol=1e-12)  # a plane is its neighbours' mean
    assert impute(x, np.zeros((8, 8), bool)) is x
    assert (impute(x, np.ones((8, 8), bool)) == 3.5).all()


def test_the_exact_map_gets_the_best_score_and_its_negative_the_worst() -> None:
    weights = np.zeros((8, 8))
    weights[2:4, 3:6] = 1.0
    _, net = linear(weights.reshape(-1).tolist(), 8, 8)
    x = torch.from_numpy(weights.astype(np.float32) * 2)[None, None]
    maps = {"exact": weights, "negative": -weights, "random": RNG.standard_normal((8, 8))}
    found = {k: Road(noise=0.0)(case(net, x, v)).columns for k, v in maps.items()}
    road = {k: v["road"][0] for k, v in found.items()}
    assert road["exact"] > road["random"] > road["negative"]
    assert road["exact"] == pytest.approx(-road["negative"], abs=0.05)
    assert found["exact"]["road"] == found["exact"]["lerf"] - found["exact"]["morf"]
    assert found["exact"]["morf_curve"].shape == (1, 7)


def test_noise_is_put_on_removed_pixels_only() -> None:
    """A score that is the mean of all pixels: with 10 % removed from an even image it moves by their noise alone."""
    _, net = linear([1.0] * 100, 10, 10)
    x = torch.from_numpy(RNG.standard_normal((1, 1, 10, 10)).astype(np.float32) * 0.01)
    quiet, loud = (Road(noise=noise)(case(net, x, np.arange(100.0).reshape(10, 10))) for noise in (0.0, 1.0))
    assert not np.array_equal(quiet.columns["morf_curve"], loud.columns["morf_curve"])
    np.testing.assert_allclose(quiet.columns["morf_curve"], loud.columns["morf_curve"], atol=0.1)
