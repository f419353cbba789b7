"""Parameters that the optimiser does not know, and networks that are frozen.

Mutation that turns this red: in owned_parameters.py, `head_frozen = bool(frozen) and` → `head_frozen = not frozen and`.
"""

from __future__ import annotations

import torch
from torch import nn

from convscope.checks.owned_parameters import OwnedParameters
from tests.checks import watched
from tests.watching.loops import Net


def _only(part: str) -> object:
    return lambda model: torch.optim.SGD(getattr(model, part).parameters(), lr=0.05)


def test_a_part_that_the_optimiser_does_not_own_is_named() -> None:
    (one,) = watched.of(OwnedParameters(), optimizer=_only("fc2"))
    assert (one.fault, one.strength, one.shows) == ("P6", 1.0, False)
    assert (one.evidence["parameters not owned"], one.evidence["of"]) == (6, 8)
    assert one.where.startswith("conv.weight")


def test_an_optimiser_made_before_the_head_was_replaced() -> None:
    def early(model: Net) -> torch.optim.Optimizer:
        made = torch.optim.SGD(model.parameters(), lr=0.05)
        model.fc2 = nn.Linear(16, 10)
        return made

    (one,) = watched.of(OwnedParameters(), optimizer=early)
    assert (one.where, one.shows) == ("fc2.weight, fc2.bias", True)
    assert one.evidence["owned but not the network's"] == 2


def test_a_frozen_head_is_found_and_a_trained_one_is_not() -> None:
    def frozen() -> nn.Module:
        model = Net()
        model.fc2.requires_grad_(False)
        return model

    (one,) = watched.of(OwnedParameters(), model=frozen)
    assert (one.fault, one.strength) == ("P6", 1.0)
    assert "last layer" in one.cause
    assert "fc2.weight" in one.where


def test_healthy_loops_are_left_alone() -> None:
    watched.assert_healthy_is_left_alone(OwnedParameters())
