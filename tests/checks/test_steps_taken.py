"""Steps that are missing, too early, or taken on gradients that were just cleared.

Mutation that turns this red: in steps_taken.py, `cleared >= 0.8 * observed` → `cleared > observed`.
"""

from __future__ import annotations

import pytest

from convscope.checks.steps_taken import StepsTaken
from tests.checks import watched


@pytest.mark.parametrize(
    ("order", "word"),
    [
        ("zero forward backward", "not one step"),
        ("zero forward step backward", "no new gradient"),
        ("forward backward zero step", "cleared between"),
        ("zero forward step", "no new gradient"),
    ],
)
def test_each_wrong_order_is_found_and_named(order: str, word: str) -> None:
    found = watched.of(StepsTaken(), order=order)
    assert [(s.fault, s.strength, s.shows) for s in found] == [("P5", 1.0, True)]
    assert word in found[0].symptom
    assert "optimizer" in found[0].code


def test_a_graph_that_is_cut_is_another_checks() -> None:
    assert watched.of(StepsTaken(), grad=False) == []


def test_healthy_loops_are_left_alone() -> None:
    watched.assert_healthy_is_left_alone(StepsTaken())
