"""Layers with nothing between are one layer: seen by superposition, mended by ReLU.

Mutation that turns this red: in linearity.py, `affine = off <= self.slack` → `affine = off > self.slack`.
"""

from __future__ import annotations

from torch import nn

from convscope.checks.linearity import Linearity
from tests.checks import small


def test_a_stack_of_linear_layers_is_affine_and_relu_mends_it() -> None:
    program = small.made(small.net(nn.Linear(8, 32), nn.Linear(32, 32), nn.Linear(32, 3)))
    (one,) = small.found(Linearity(), program)
    assert (one.fault, one.strength, one.harmless) == ("A1", 1.0, False)
    assert float(one.evidence["deviation from superposition"]) < 1e-4
    control, changed = small.shares(program, one.change)
    assert changed > control + 0.3


def test_one_linear_pair_in_a_network_that_is_not_affine_is_a_hint() -> None:
    program = small.made(small.net(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 8), nn.Linear(8, 3)))
    (one,) = small.found(Linearity(), program)
    assert one.strength == 0.3
    assert one.harmless


def test_batch_norm_between_is_still_affine() -> None:
    layers = (nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Dropout(0.1), nn.Linear(16, 3))
    (one,) = small.found(Linearity(), small.made(small.net(*layers)))
    assert one.strength == 1.0


def test_healthy_networks_and_single_layers_are_left_alone() -> None:
    pooled = small.net(nn.Conv1d(1, 4, 3), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(12, 3))
    x, y = small.rings()
    assert small.found(Linearity(), small.made(small.net())) == []
    assert small.found(Linearity(), small.made(small.net(nn.Linear(8, 3)))) == []
    assert small.found(Linearity(), small.made(pooled, data=(x[:, None], y))) == []


def test_odd_programs_are_no_matter() -> None:
    for name, evidence in small.odd().items():
        assert isinstance(list(Linearity()(evidence)), list), name
