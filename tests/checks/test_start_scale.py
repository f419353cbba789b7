"""Weights that begin too wide or too narrow for their fan-in.

Mutation that turns this red: in start_scale.py, `f[2] > self.wide` → `f[2] < self.wide`.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

from convscope.checks.start_scale import StartScale
from convscope.diagnosing.trial import train
from tests.checks import small


def _scaled(std: float) -> nn.Sequential:
    model = small.net(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3))
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim == 2:
                p.copy_(torch.randn(p.shape, generator=torch.Generator().manual_seed(1)) * std / p.shape[1] ** 0.5)
    return model


def test_wide_weights_make_a_wild_start_and_he_mends_it() -> None:
    program = small.made(_scaled(8.0), "sgd:0.05")
    (one,) = small.found(StartScale(), program)
    assert (one.fault, one.strength) == ("A8", 0.8)
    assert float(one.evidence["gain"]) == pytest.approx(8, rel=0.15)
    assert one.change is not None
    control, changed = (train(p, 0, 3) for p in (program.twin(), one.change.apply(program.twin())))
    assert control.losses[0] > 5 * changed.losses[0]


def test_narrow_weights_are_seen() -> None:
    program = small.made(_scaled(0.01), "sgd:0.05")
    (one,) = small.found(StartScale(), program)
    assert one.strength == 0.8
    assert "small" in one.cause
    control, changed = small.shares(program, one.change)
    assert changed > control + 0.1


def test_behind_a_norm_it_is_a_hint() -> None:
    model = small.net(nn.Linear(8, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 3))
    with torch.no_grad():
        model.get_parameter("0.weight").mul_(30)
    (one,) = small.found(StartScale(), small.made(model))
    assert one.strength == 0.3
    assert one.harmless


@pytest.mark.parametrize("std", [0.4, 1.0, 1.41])
def test_usual_starts_are_left_alone(std: float) -> None:
    assert small.found(StartScale(), small.made(_scaled(std))) == []


def test_odd_programs_are_no_matter() -> None:
    for name, evidence in small.odd().items():
        assert isinstance(list(StartScale()(evidence)), list), name
