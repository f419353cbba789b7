"""Rates that are too high or too low, by other rates in as many steps.

Mutation that turns this red: in rate.py, `if won <= self.gain:` → `if won > self.gain:`.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from convscope.checks._tried import first_step
from convscope.checks.rate import Rate
from convscope.diagnosing import given
from convscope.diagnosing.evidence import Evidence
from tests.checks import small


def test_first_step_rises_where_curvature_times_rate_is_over_two() -> None:
    x = torch.ones(64, 1)  # L = w²: curvature 2; w → w(1 − 2·rate), so the loss goes up for rates over 1
    for rate, rises in ((0.9, False), (1.1, True)):
        model = nn.Linear(1, 1, bias=False)
        nn.init.ones_(model.weight)
        program = given.program(model, (x, torch.zeros(64, 1)), "mse", f"sgd:{rate}")
        assert first_step(Evidence(program)) == pytest.approx((1 - 2 * rate) ** 2, rel=1e-4)
        assert (first_step(Evidence(program)) > 1) is rises


def test_a_rate_too_high_is_found_and_mended() -> None:
    x = small.rings()[0]
    program = given.program(nn.Linear(8, 1), (x, x[:, :1] * 2), "mse", "sgd:5", epochs=20)
    (one,) = small.found(Rate(), program)
    assert (one.fault, one.strength) == ("P1", 0.8)
    _, changed = small.shares(program, one.change)
    assert changed > 0.5


def test_wild_inputs_make_it_weaker() -> None:
    x = small.rings()[0]
    program = given.program(nn.Linear(8, 1), (x * 100, x[:, :1] * 2), "mse", "sgd:0.01", epochs=20)
    (one,) = small.found(Rate(), program)
    assert (one.fault, one.strength) == ("P1", 0.6)


def test_a_rate_too_low_is_found_and_mended() -> None:
    program = small.made(small.net(), "adam:1e-6", epochs=10)
    (one,) = small.found(Rate(), program, 2.0)
    assert (one.fault, one.strength) == ("P2", 0.8)
    control, changed = small.shares(program, one.change)
    assert changed > control + 0.2
    assert math.isfinite(control)


@pytest.mark.parametrize("optimizer", ["adam:0.003", "adam:0.01", "sgd:0.3"])
def test_rates_that_learn_are_left_alone(optimizer: str) -> None:
    assert [s for s in small.found(Rate(), small.made(small.net(), optimizer), 2.0) if s.strength > 0.3] == []


def test_odd_programs_are_no_matter() -> None:
    for name, evidence in small.odd().items():
        assert isinstance(list(Rate()(evidence)), list), name
