"""Scores against closed forms: accuracy, R², loss; and when something was learned.

Mutation that turns this red: in score.py, `share = (right - most) / (1 - most)` → `share = right`.
"""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import accuracy_score, r2_score
from torch import Tensor

from convscope.diagnosing import targets
from convscope.diagnosing.losses import LossFacts
from convscope.diagnosing.score import Score, predictions, score

G = torch.Generator().manual_seed(0)
Y = torch.tensor([0, 1, 2, 2, 2, 1, 2, 2])


def _score(out: Tensor, y: Tensor | None, last: str = "linear", value: float = 1.0, **facts: object) -> Score:
    return score(out, y, targets.look(y), LossFacts(**facts), value, last)  # type: ignore[arg-type]


def test_accuracy_is_scikit_learns_beside_the_majority() -> None:
    out = torch.randn(8, 3, generator=G)
    found = _score(out, Y)
    right = accuracy_score(Y, out.argmax(1))
    assert (found.metric, found.constant, found.examples) == ("accuracy", 5 / 8, 8)
    assert found.value == pytest.approx(right)
    assert found.share == pytest.approx((right - 5 / 8) / (3 / 8))
    assert found.answers == len(out.argmax(1).unique())
    assert _score(F.one_hot(Y).float(), Y).share == 1.0
    assert _score(out, F.one_hot(Y)).value == found.value


def test_r2_is_scikit_learns() -> None:
    y = torch.randn(50, 1, generator=G)
    out = y + 0.3 * torch.randn(50, 1, generator=G)
    found = _score(out, y)
    assert found.metric == "R²"
    assert found.value == pytest.approx(r2_score(y, out), abs=1e-6)
    assert _score(y.mean() * torch.ones(50, 1), y).value == pytest.approx(0.0, abs=1e-6)


def test_a_share_of_the_way_to_the_best_loss() -> None:
    found = _score(torch.zeros(8, 2), None, value=1.5, constant=2.0, floor=1.0)
    assert (found.metric, found.share) == ("loss", 0.5)
    assert math.isnan(_score(torch.zeros(8, 2), None, value=1.5).share)


@pytest.mark.parametrize(
    ("reads", "last", "cut"), [("logits", "linear", 0.0), ("probabilities", "sigmoid", 0.5), ("values", "linear", 0.5)]
)
def test_yes_and_no_by_the_kind_of_output(reads: str, last: str, cut: float) -> None:
    y = torch.tensor([[0.0], [1.0], [1.0], [0.0]])
    out = torch.tensor([[cut - 0.1], [cut + 0.1], [cut - 0.1], [cut - 0.1]])
    found = _score(out, y, last, reads=reads)
    assert (found.metric, found.value, found.constant) == ("accuracy", 0.75, 0.5)


def test_a_class_for_each_position() -> None:
    out = torch.randn(3, 4, 5, 5, generator=G)
    y = out.argmax(1)
    assert _score(out, y).value == 1.0
    last = out.movedim(1, -1)
    assert predictions(last, targets.look(y), LossFacts(), "linear") is not None
    assert _score(last, y).value == 1.0


def test_learned_is_more_than_chance() -> None:
    assert not Score("accuracy", 0.55, 0.5, 0.1, 20).learned
    assert Score("accuracy", 0.8, 0.5, 0.6, 200).learned
    assert not Score("R²", 0.05, 0.0, 0.05, 100).learned
    assert Score("loss", 1.0, 2.0, 0.5, 100).learned
    assert not Score("loss", math.nan, 2.0, math.nan, 100).learned


def test_poor_is_near_the_constant_answer() -> None:
    assert Score("accuracy", 0.55, 0.5, 0.1, 100).poor
    assert Score("accuracy", 0.7, 0.65, 0.14, 100).poor
    assert not Score("accuracy", 0.99, 0.98, 0.5, 100).poor
    assert Score("R²", 0.2, 0.0, 0.2, 100).poor
    assert Score("R²", math.nan, 0.0, math.nan, 100).poor
