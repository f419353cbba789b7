"""The pointing game by hand.

Turns red: in `evaluations/pointing_game.py`, `~mask` -> `mask` · `distance <= reach` -> `distance < reach`.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from convscope.errors import UsageError
from convscope.evaluations.pointing_game import PointingGame
from tests.evaluations.linear import case, linear

TRUTH = np.zeros((1, 10, 12), bool)
TRUTH[0, 4:6, 4:8] = True


def ask(at: tuple[int, int], tolerance: float | None = None, **more: float) -> dict[str, float]:
    _, net = linear([0.0] * 120, 10, 12)
    values = np.full((10, 12), -1.0)
    values[at] = 5.0
    values[4, 4] = max(values[4, 4], more.get("beside", -1.0))
    found = PointingGame(tolerance)(case(net, torch.zeros(1, 1, 10, 12), values, truth=TRUTH))
    return {k: v[0] for k, v in found.columns.items()}


@pytest.mark.parametrize(("at", "hit", "distance"), [
    ((5, 7), 1, 0), ((5, 9), 1, 2), ((5, 10), 0, 3), ((7, 9), 0, np.sqrt(8)), ((0, 4), 0, 4), ((2, 5), 1, 2)])
def test_hits_lie_on_the_truth_or_within_the_tolerance(at: tuple[int, int], hit: int, distance: float) -> None:
    found = ask(at, 2.0)
    assert (found["pointing_game"], found["distance"]) == (hit, pytest.approx(distance))


def test_the_share_inside_counts_positive_evidence_only() -> None:
    assert ask((5, 7))["inside"] == 1
    assert ask((0, 0))["inside"] == 0
    assert ask((0, 0), beside=3.0)["inside"] == pytest.approx(3 / 8)


def test_a_map_without_positive_evidence_has_nothing_inside() -> None:
    _, net = linear([0.0] * 120, 10, 12)
    found = PointingGame()(case(net, torch.zeros(1, 1, 10, 12), -np.ones((10, 12)), truth=TRUTH))
    assert found.columns["inside"].tolist() == [0.0]


def test_chance_is_the_share_of_pixels_that_would_hit() -> None:
    rows, columns = np.indices((10, 12))
    near = np.hypot(rows - np.clip(rows, 4, 5), columns - np.clip(columns, 4, 7)) <= 2
    assert ask((0, 0), 2.0)["chance"] == near.mean()
    assert ask((0, 0), 0.0)["chance"] == 8 / 120


def test_the_tolerance_is_15_px_at_224() -> None:
    assert PointingGame().reach(224, 300) == 15
    assert PointingGame(3.0).reach(224, 300) == 3


def test_without_a_truth_it_is_refused() -> None:
    _, net = linear([0.0] * 6, 2, 3)
    x = torch.zeros(1, 1, 2, 3)
    with pytest.raises(UsageError, match="needs to know where the evidence is; these images have no masks; ask it of the"):
        PointingGame()(case(net, x, np.zeros((2, 3))))
    with pytest.raises(UsageError, match="needs some evidence in every image; the mask of image 0 is empty; leave it out"):
        PointingGame()(case(net, x, np.zeros((2, 3)), truth=np.zeros((1, 2, 3), bool)))
