"""Training in evaluation mode, and judging in training mode.

Mutation that turns this red: in modes_seen.py, `and not rightly` → `and rightly`.
"""

from __future__ import annotations

import pytest
from torch import nn

from convscope.checks.modes_seen import ModesSeen
from tests.checks import watched


def test_training_in_evaluation_mode_is_found() -> None:
    found = watched.of(ModesSeen(), mode=False)
    assert [(s.fault, s.strength) for s in found] == [("E1", 1.0)]
    assert "12 of 12 training passes" in found[0].cause


def test_no_return_to_training_after_the_first_validation() -> None:
    class Stays(nn.Module):
        """Its mode cannot be set back, as if `train()` had been forgotten."""

        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.Dropout(0.2), nn.Linear(8, 10))
            self.judged = False

        def forward(self, x: object) -> object:
            return self.layers(x)

        def train(self, mode: bool = True) -> nn.Module:
            self.judged = self.judged or not mode
            return super().train(mode and not self.judged)

    (one,) = watched.of(ModesSeen(), model=Stays)
    assert (one.fault, one.strength) == ("E1", 1.0)
    assert "not called again" in one.cause


@pytest.mark.parametrize("validate", ["no_grad", "graph"])
def test_judging_in_training_mode_is_found(validate: str) -> None:
    (one,) = watched.of(ModesSeen(), validate=validate)
    assert (one.fault, one.strength) == ("E1", 0.8)
    assert "judged in training mode" in one.symptom


def test_a_network_without_modes_may_be_in_any() -> None:
    def plain() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

    assert watched.of(ModesSeen(), model=plain, mode=False) == []


def test_healthy_loops_are_left_alone() -> None:
    watched.assert_healthy_is_left_alone(ModesSeen())
