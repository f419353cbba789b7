"""A schedule that is stepped after every batch.

Mutation that turns this red: in decayed_rate.py, `if half >= self.gone` → `if half <= self.gone`.
"""

from __future__ import annotations

import pytest
import torch

from convscope.checks.decayed_rate import DecayedRate
from tests.checks import watched


@pytest.mark.parametrize("gamma", [0.5, 0.1])
def test_a_rate_that_is_gone_is_found_with_the_step(gamma: float) -> None:
    def schedule(optimizer: torch.optim.Optimizer) -> object:
        return torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma)

    (one,) = watched.of(DecayedRate(), steps=40, per_epoch=10, scheduler=schedule)
    assert (one.fault, one.strength, one.shows) == ("P9", 1.0, True)
    assert one.evidence["first rate"] == pytest.approx(0.05)
    assert one.evidence["last rate"] == pytest.approx(0.05 * gamma**39, rel=1e-6)
    assert "after every batch" in one.cause


def test_a_rate_that_falls_once_too_far_is_likely_only() -> None:
    def schedule(optimizer: torch.optim.Optimizer) -> object:
        return torch.optim.lr_scheduler.StepLR(optimizer, 10, 1e-4)

    (one,) = watched.of(DecayedRate(), steps=40, scheduler=schedule)
    assert (one.strength, one.shows) == (0.6, False)
    assert one.evidence["changes of the rate"] == 3


def test_a_tenth_each_epoch_is_a_schedule() -> None:
    def schedule(optimizer: torch.optim.Optimizer) -> object:
        return torch.optim.lr_scheduler.StepLR(optimizer, 20, 0.1)

    assert watched.of(DecayedRate(), steps=40, scheduler=schedule) == []


def test_healthy_loops_are_left_alone() -> None:
    watched.assert_healthy_is_left_alone(DecayedRate())
