"""DoubleSoftmax. Mutation that turns this file red: `math.e + classes - 1` → `math.e + classes` in `_of_classes`."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convscope.checks.double_softmax import DoubleSoftmax
from convscope.diagnosing.suspicion import EXACT
from tests.checks._programs import asked, data, lesson, net, odd


def test_the_floor_is_reached_by_sure_right_answers() -> None:
    evidence, found = asked(DoubleSoftmax(), net(nn.Softmax(dim=1)), data(), F.cross_entropy, rate=0.003)
    assert [(s.fault, s.strength) for s in found] == [("O2", EXACT)]
    sure = F.cross_entropy(F.one_hot(torch.tensor([0, 2, 1]), 3).float(), torch.tensor([0, 2, 1]))
    assert found[0].evidence["lowest loss within reach"] == pytest.approx(float(sure), rel=1e-6)
    before, after = lesson(evidence, found[0], 60)
    assert after > before


def test_a_hand_made_softmax_and_a_sigmoid() -> None:
    class Shares(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.exp() / x.exp().sum(1, keepdim=True)

    evidence, found = asked(DoubleSoftmax(), net(Shares()), data(), F.cross_entropy)
    assert [s.fault for s in found] == ["O2"]
    assert found[0].change is not None
    program = found[0].change.apply(evidence.program.twin())
    p = torch.tensor([[0.2, 0.5, 0.3]])
    # the loss that it should have been
    assert float(program.value(p, torch.tensor([1]))) == pytest.approx(-math.log(0.5), rel=1e-5)
    _, found = asked(DoubleSoftmax(), net(nn.Sigmoid(), wide=1), data("binary"), F.binary_cross_entropy_with_logits)
    assert [s.fault for s in found] == ["O2"]
    _, found = asked(DoubleSoftmax(), net(nn.Softmax(dim=1), nn.Softmax(dim=1)), data(), lambda o, t: F.nll_loss(o.log(), t))
    assert [s.fault for s in found] == ["O2"]


@pytest.mark.parametrize("last", [(), (nn.LogSoftmax(dim=1),)])
def test_logits_and_their_log_softmax_are_right(last: tuple[nn.Module, ...]) -> None:
    assert asked(DoubleSoftmax(), net(*last), data(), F.cross_entropy)[1] == []


def test_odd_programs() -> None:
    odd(DoubleSoftmax())
