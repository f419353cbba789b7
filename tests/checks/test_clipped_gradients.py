"""Clipping to almost nothing.

Mutation that turns this red: in clipped_gradients.py, `factor < self.hard` → `factor > self.hard`.
"""

from __future__ import annotations

import pytest

from convscope.checks.clipped_gradients import ClippedGradients
from tests.checks import watched


def test_clipping_to_a_millionth_is_found_with_the_usual_norm() -> None:
    (one,) = watched.of(ClippedGradients(), clip=1e-6)
    assert (one.fault, one.strength, one.shows) == ("P13", 1.0, True)
    left, norm = float(one.evidence["left of the gradient"]), float(one.evidence["median norm before"])
    assert left * norm == pytest.approx(1e-6, rel=0.5)  # c = ‖g‖ · c/‖g‖
    assert f"{norm:.1g}" in one.code


@pytest.mark.parametrize("clip", [0.5, 5.0, None])
def test_clipping_near_the_usual_norm_is_a_choice(clip: float | None) -> None:
    assert watched.of(ClippedGradients(), clip=clip) == []


def test_healthy_loops_are_left_alone() -> None:
    watched.assert_healthy_is_left_alone(ClippedGradients())
