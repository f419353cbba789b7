"""Gradients that nobody clears.

Mutation that turns this red: in cleared_gradients.py, `left < 4 * cleared` → `left > 4 * cleared`.
"""

from __future__ import annotations

import pytest

from convscope.checks.cleared_gradients import ClearedGradients
from tests.checks import watched


def test_a_loop_without_zero_grad_is_found() -> None:
    (one,) = watched.of(ClearedGradients(), order="forward backward step")
    assert (one.fault, one.strength, one.shows) == ("P4", 1.0, True)
    assert one.evidence["steps with gradients left over"] == 11  # the first step begins on none
    assert "+ optimizer.zero_grad()" in one.code


@pytest.mark.parametrize("order", ["zero forward backward step", "forward backward step zero", "forward zero backward step"])
def test_clearing_anywhere_between_steps_is_right(order: str) -> None:
    assert watched.of(ClearedGradients(), order=order) == []


def test_passes_that_add_up_within_a_step_are_no_fault() -> None:
    assert watched.of(ClearedGradients(), order="zero forward backward forward backward step") == []


def test_fewer_steps_than_asked_for_say_nothing() -> None:
    assert watched.of(ClearedGradients(least=12), order="forward backward step") == []


def test_healthy_loops_are_left_alone() -> None:
    watched.assert_healthy_is_left_alone(ClearedGradients())
