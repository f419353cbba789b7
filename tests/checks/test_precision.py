"""Gradients and eps that float16 cannot hold.

Mutation that turns this red: in precision.py, `0 < eps < SMALLEST / 2` → `0 > eps > SMALLEST / 2`.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

from convscope.checks.precision import Precision, zero_share
from convscope.diagnosing.evidence import Evidence
from tests.checks import small


def test_adam_in_float16_divides_by_zero_and_float32_mends() -> None:
    x, y = small.rings()
    program = small.made(small.net().half(), "adam:0.01", (x.half(), y))
    (one,) = small.found(Precision(), program)
    assert (one.fault, one.strength) == ("P12", 0.8)
    assert "eps" in one.cause
    _, changed = small.shares(program, one.change)
    assert changed > 0.3


def test_small_gradients_are_lost() -> None:
    x, y = small.rings()
    scaled = small.made(
        small.net().half(), "sgd:0.1", (x.half(), y), loss=lambda o, t: 1e-6 * nn.functional.cross_entropy(o, t)
    )
    (one,) = small.found(Precision(), scaled)
    assert one.strength == 0.8
    assert float(one.evidence["gradients that are 0 in float16"]) > 0.3
    share = zero_share(scaled.twin(), Evidence(scaled))
    assert share == pytest.approx(float(one.evidence["gradients that are 0 in float16"]))


def test_full_and_brain_precision_are_left_alone() -> None:
    x, y = small.rings()
    assert small.found(Precision(), small.made(small.net())) == []
    assert small.found(Precision(), small.made(small.net().bfloat16(), "sgd:0.1", (x.to(torch.bfloat16), y))) == []


def test_odd_programs_are_no_matter() -> None:
    for name, evidence in small.odd().items():
        assert isinstance(list(Precision()(evidence)), list), name
