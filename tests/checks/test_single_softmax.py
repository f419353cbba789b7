"""SingleSoftmax. Mutation that turns this file red: `width(c) == 1` → `width(c) == 2` in `__call__`."""

from __future__ import annotations

import pytest
import torch.nn.functional as F
from torch import Tensor, nn

from convscope.checks.single_softmax import SingleSoftmax
from convscope.diagnosing.suspicion import EXACT
from tests.checks._programs import asked, data, lesson, net, odd


@pytest.mark.parametrize(("kind", "loss"), [("binary", F.binary_cross_entropy), ("values", F.mse_loss)])
def test_one_unit_under_a_softmax(kind: str, loss: object) -> None:
    evidence, found = asked(SingleSoftmax(), net(nn.Softmax(dim=1), wide=1), data(kind), loss)
    assert [(s.fault, s.strength, s.shows) for s in found] == [("O1", EXACT, True)]
    assert "- (3): Softmax(dim=1)" in found[0].code
    before, after = lesson(evidence, found[0])
    assert before < 0.1 < 0.6 < after


def test_a_softmax_of_the_loss_over_one_unit() -> None:
    def loss(output: Tensor, target: Tensor) -> Tensor:
        return -(target * output.log_softmax(1)).sum(1).mean()

    evidence, found = asked(SingleSoftmax(), net(wide=1), data("binary"), loss)
    assert [s.fault for s in found] == ["O1"]
    assert lesson(evidence, found[0])[1] > 0.6


def test_two_units_are_none() -> None:
    def loss(output: Tensor, target: Tensor) -> Tensor:
        return F.nll_loss(output.log(), target)

    assert asked(SingleSoftmax(), net(nn.Softmax(dim=1)), data(), loss)[1] == []
    assert asked(SingleSoftmax(), net(nn.Sigmoid(), wide=1), data("binary"), F.binary_cross_entropy)[1] == []


def test_odd_programs() -> None:
    odd(SingleSoftmax())
