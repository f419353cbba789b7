"""Reach. Mutation that turns this file red: `away.square()` → `away` in `_values`."""

from __future__ import annotations

import pytest
import torch.nn.functional as F
from torch import Tensor, nn

from convscope.checks.reach import Reach
from convscope.diagnosing.suspicion import EXACT
from tests.checks._programs import asked, data, lesson, net, odd


@pytest.mark.parametrize("last", [nn.Sigmoid(), nn.ReLU(), nn.Tanh()])
def test_targets_out_of_reach(last: nn.Module) -> None:
    x, y = data("values")
    evidence, found = asked(Reach(), net(last, wide=1), (x, 2 * y), F.mse_loss)
    assert [(s.fault, s.strength) for s in found] == [("O4", EXACT)]
    before, after = lesson(evidence, found[0])
    assert after > max(before + 0.05, 0.8)


def test_the_lost_share_is_that_of_the_variance() -> None:
    x, y = data("values")
    _, found = asked(Reach(), net(nn.ReLU(), wide=1), (x, y), F.mse_loss)
    lost = float(y.clamp(max=0).square().mean() / y.var(unbiased=False))
    assert found[0].evidence["variance out of reach / variance"] == pytest.approx(lost, rel=1e-5)


def test_a_relu_for_classes() -> None:
    def loss(output: Tensor, target: Tensor) -> Tensor:
        return F.binary_cross_entropy(output.clamp(1e-7, 1 - 1e-7), target)

    _, found = asked(Reach(), net(nn.ReLU(), wide=1), data("binary"), loss)
    assert [(s.fault, s.strength) for s in found] == [("O4", EXACT)]
    assert "Sigmoid()" in found[0].code


def test_within_reach() -> None:
    x, y = data("values")
    assert asked(Reach(), net(nn.Sigmoid(), wide=1), (x, y.sigmoid()), F.mse_loss)[1] == []
    assert asked(Reach(), net(nn.ReLU(), wide=1), (x, y.abs()), F.mse_loss)[1] == []
    assert asked(Reach(), net(wide=1), (x, 50 * y), F.mse_loss)[1] == []


def test_odd_programs() -> None:
    odd(Reach())
