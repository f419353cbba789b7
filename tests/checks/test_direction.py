"""Steps that climb.

Mutation that turns this red: in direction.py, `if sign > self.cosine` → `if sign < self.cosine`.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

from convscope.checks.direction import Direction
from tests.checks import watched
from tests.watching.loops import Loop


@pytest.mark.parametrize(("kind", "least"), [(torch.optim.SGD, 0.99), (torch.optim.Adam, 0.2)])
def test_maximising_is_found(kind: type[torch.optim.Optimizer], least: float) -> None:
    (one,) = watched.of(Direction(), optimizer=lambda m: kind(m.parameters(), lr=1e-3, maximize=True))  # type: ignore[call-arg]
    assert (one.fault, one.shows) == ("P3", True)
    assert float(one.evidence["cosine of step and gradient"]) > least


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam, torch.optim.RMSprop, torch.optim.Adagrad])
def test_every_usual_optimiser_descends(kind: type[torch.optim.Optimizer]) -> None:
    run = Loop(optimizer=lambda m: kind(m.parameters(), lr=1e-3)).watched()  # type: ignore[call-arg]
    assert run.loop["sign"] < 0
    assert watched.said(Direction(), run) == []


def test_momentum_may_overshoot() -> None:
    def heavy(model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    assert watched.of(Direction(), optimizer=heavy, steps=40) == []


def test_healthy_loops_are_left_alone() -> None:
    watched.assert_healthy_is_left_alone(Direction())
