"""What loss curves tell alone, on curves with known numbers.

Mutation that turns this red: in curve.py, `math.log(math.e + k - 1) + 1` → `math.log(math.e + k - 1)`.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from convscope.checks.curve import Curve
from convscope.results import Run
from tests.checks import watched


def _codes(losses: object, **epochs: object) -> list[str]:
    run = Run(steps={"loss": np.asarray(losses, float)}, epochs={k: np.asarray(v, float) for k, v in epochs.items()})
    return [s.fault for s in watched.said(Curve(), run)]


@pytest.mark.parametrize("classes", [2, 3, 10, 100, 1000])
def test_the_level_of_an_even_guess(classes: int) -> None:
    noise = 1e-4 * np.random.default_rng(0).normal(size=100)
    (one,) = watched.said(Curve(), Run(steps={"loss": math.log(classes) + noise}, epochs={}))
    assert (one.fault, one.strength) == ("P6", 0.3)
    assert f"ln {classes}" in one.symptom


@pytest.mark.parametrize("classes", [10, 43])
def test_the_floor_of_two_softmaxes(classes: int) -> None:
    """K one-hot probabilities into softmax: −ln(e/(e + K − 1))."""
    p = np.eye(classes)[0]
    floor = -math.log(math.exp(p[0]) / np.exp(p).sum())
    assert _codes(np.full(100, floor)) == ["O2"]


def test_held_out_loss_that_turns_up() -> None:
    falling = np.geomspace(2.0, 0.01, 50)
    assert "E3" in _codes(falling, held_out_loss=[1.0, 0.5, 0.4, 0.45, 0.7])
    assert "E3" not in _codes(falling, held_out_loss=[1.0, 0.5, 0.4, 0.41, 0.42])


def test_a_loss_that_still_falls_and_one_that_has_settled() -> None:
    assert _codes(np.linspace(5, 3, 200)) == ["P11"]
    assert _codes(3.03 + 2 * np.exp(-np.arange(200) / 10)) == []


def test_a_loss_that_only_jumps() -> None:
    jumps = np.where(np.arange(200) % 2, 1.0, 9.0)
    assert _codes(jumps) == ["P1"]


def test_short_and_empty_curves_say_nothing() -> None:
    assert _codes([]) == _codes([2.3] * 5) == _codes([math.nan] * 50) == []


def test_healthy_loops_are_left_alone() -> None:
    watched.assert_healthy_is_left_alone(Curve())
