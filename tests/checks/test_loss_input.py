"""LossInput. Mutation that turns this file red: `10 * self.slack` → `1e9` in `__call__`."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convscope.checks.loss_input import LossInput
from convscope.diagnosing.suspicion import EXACT
from tests.checks._programs import asked, data, lesson, net, odd


def chances(output: Tensor, target: Tensor) -> Tensor:
    p = output.clamp(1e-7, 1 - 1e-7)
    return -(target * p.log() + (1 - target) * (1 - p).log()).mean()


def of_classes(output: Tensor, target: Tensor) -> Tensor:
    return -(F.one_hot(target, 3) * output.clamp(1e-7, 1 - 1e-7).log()).sum(1).mean()


@pytest.mark.parametrize(
    ("wide", "kind", "loss"), [(1, "binary", chances), (3, "classes", of_classes), (3, "classes", F.nll_loss)]
)
def test_logits_to_a_loss_of_probabilities(wide: int, kind: str, loss: object) -> None:
    evidence, found = asked(LossInput(), net(wide=wide), data(kind), loss)
    assert [s.fault for s in found] == ["O3"]
    assert lesson(evidence, found[0])[1] > 0.6


def test_probabilities_to_nll() -> None:
    evidence, found = asked(LossInput(), net(nn.Softmax(dim=1)), data(), F.nll_loss)
    assert [(s.fault, s.strength) for s in found] == [("O3", EXACT)]
    assert "LogSoftmax" in found[0].code
    assert found[0].change is not None
    program = found[0].change.apply(evidence.program.twin())
    output = torch.randn(5, 3)
    assert float(program.value(output.log_softmax(1), torch.zeros(5).long())) > 0


def test_what_fits_is_passed_over() -> None:
    assert asked(LossInput(), net(nn.Sigmoid(), wide=1), data("binary"), chances)[1] == []
    assert asked(LossInput(), net(nn.Softmax(dim=1)), data(), of_classes)[1] == []
    assert asked(LossInput(), net(nn.LogSoftmax(dim=1)), data(), F.nll_loss)[1] == []
    assert asked(LossInput(), net(), data(), F.cross_entropy)[1] == []
    assert asked(LossInput(), net(wide=1), data("values"), F.mse_loss)[1] == []


def test_odd_programs() -> None:
    odd(LossInput())
