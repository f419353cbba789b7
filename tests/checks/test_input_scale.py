"""Inputs too wide, off centre, crushed; and where that does not matter.

Mutation that turns this red: in input_scale.py, `apart > self.off` → `apart < self.off`.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

from convscope.checks.input_scale import InputScale, moments
from tests.checks import small
from tests.checks.blobs import blobs


def _made(factor: float = 1.0, shift: float = 0.0, optimizer: str = "sgd:0.05", model: nn.Module | None = None):
    x, y = blobs()
    return small.made(model or small.net(), optimizer, (x * factor + shift, y), epochs=20)


def test_wide_inputs_are_d1_and_standardising_mends() -> None:
    program = _made(1000.0)
    (one,) = small.found(InputScale(), program)
    assert (one.fault, one.strength, one.harmless) == ("D1", 0.8, False)
    assert float(one.evidence["largest standard deviation"]) > 1000 > float(one.evidence["at most"])
    mended = one.change.apply(program.twin()) if one.change else program
    assert float(mended.examples.x.mean(0).abs().max()) < 1e-4
    assert float((mended.examples.x.std(0, unbiased=False) - 1).abs().max()) < 1e-4
    control, changed = small.shares(program, one.change)
    assert changed > 0.9
    assert not control > 0.5


def test_a_mean_far_off_is_d2_first_and_centring_mends() -> None:
    x, y = blobs()
    x = (x - x.mean(0)) / x.std(0) + 100
    program = small.made(small.net(), "sgd:0.05", (x, y), epochs=20)
    first, second = small.found(InputScale(), program)
    assert (first.fault, first.strength) == ("D2", 0.8)
    assert (second.fault, second.strength) == ("D1", 0.6)
    assert float(first.evidence["mean in standard deviations (median)"]) == pytest.approx(100, rel=0.01)
    control, changed = small.shares(program, first.change)
    assert changed > 0.9
    assert not control > 0.5


def test_crushed_inputs_are_d3_and_standardising_mends() -> None:
    program = _made(1e-4)
    (one,) = small.found(InputScale(), program)
    assert (one.fault, one.strength) == ("D3", 0.8)
    control, changed = small.shares(program, one.change)
    assert changed > 0.9 > control + 0.3


def test_a_training_that_goes_well_leaves_a_hint() -> None:
    x, y = blobs()
    (one,) = small.found(InputScale(), small.made(small.net(), "adam:0.01", (4 * x, y), epochs=30), 3.0)
    assert one.strength == 0.3
    assert one.harmless
    assert "nothing shows" in one.symptom


def test_a_norm_behind_the_first_layer_takes_the_scale_off() -> None:
    normed = small.net(nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 3))
    (one,) = small.found(InputScale(), _made(1000.0, model=normed))
    assert one.strength == 0.3
    assert one.harmless
    before = small.net(nn.BatchNorm1d(8), nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))
    assert small.found(InputScale(), _made(1000.0, 500.0, model=before)) == []


def test_what_the_network_scales_itself_is_what_counts() -> None:
    class Divides(nn.Sequential):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x / 255)

    assert small.found(InputScale(), _made(255.0, model=Divides(*small.net()))) == []


def test_moments_against_numpys_eigenvalues() -> None:
    x = torch.randn(60, 5, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 2, 3, 4, 5]) + 2
    values = torch.linalg.eigvalsh((x.T.double() @ x.double()) / 60)
    assert moments(x) == (pytest.approx(float(values[-1]), rel=1e-6), pytest.approx(float(values[-1] / values[0]), rel=1e-5))


def test_sound_inputs_are_left_alone_and_odd_programs_are_no_matter() -> None:
    assert small.found(InputScale(), _made()) == []
    for name, evidence in small.odd().items():
        assert [s.fault for s in InputScale()(evidence)] == [], name
