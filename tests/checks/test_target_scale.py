"""Targets too large and too small for a regression.

Mutation that turns this red: in target_scale.py, `min(size, away) > self.wide` → `min(size, away) < self.wide`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convscope.checks.target_scale import TargetScale
from tests.checks import small
from tests.checks.blobs import line, slope


def _made(factor: float = 1.0, shift: float = 0.0, model: nn.Module | None = None, **words):
    x, y = slope()
    optimizer = words.pop("optimizer", "adam:0.01")
    return small.made(model or line(), optimizer, (x, factor * y + shift), epochs=10, **{"loss": "mse", **words})


def test_large_targets_are_d4_and_standardising_mends() -> None:
    program = _made(1000.0, 5000.0)
    (one,) = small.found(TargetScale(), program)
    assert (one.fault, one.strength) == ("D4", 0.8)
    assert float(one.evidence["targets from the first outputs (RMS)"]) > 4900
    control, changed = small.shares(program, one.change, 100)
    assert changed > 0.9
    assert control < 0.1


def test_tiny_targets_are_d4_too() -> None:
    program = _made(1e-4, optimizer="adam:0.05")
    (one,) = small.found(TargetScale(), program)
    assert one.fault == "D4"
    assert "noise" in one.symptom
    control, changed = small.shares(program, one.change, 60)
    assert changed > control + 0.3


def test_a_bounded_output_is_another_fault_first() -> None:
    bounded = nn.Sequential(*line(), nn.Sigmoid())
    (one,) = small.found(TargetScale(), _made(1000.0, model=bounded))
    assert one.strength == 0.6
    assert one.change is None


def test_a_bias_that_begins_at_the_mean_is_sound() -> None:
    model = line()
    with torch.no_grad():
        model[2].bias.fill_(50.0)
    assert small.found(TargetScale(), _made(1.0, 50.0, model=model)) == []


def test_losses_of_ones_own_are_asked_where_they_are_least() -> None:
    def cubic(output: Tensor, target: Tensor) -> Tensor:
        return (output - target).abs().pow(3).mean()

    def counts(output: Tensor, target: Tensor) -> Tensor:
        return F.poisson_nll_loss(output, target.abs())

    assert [s.fault for s in small.found(TargetScale(), _made(1000.0, loss=cubic))] == ["D4"]
    assert small.found(TargetScale(), _made(10.0, loss=counts)) == []


def test_sound_targets_are_left_alone_and_odd_programs_are_no_matter() -> None:
    assert small.found(TargetScale(), _made()) == []
    for name, evidence in small.odd().items():
        assert [s.fault for s in TargetScale()(evidence)] == [], name
