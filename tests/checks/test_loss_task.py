"""LossTask.

Mutation that turns this file red: `quantities and shared.says_nothing` → `not quantities and shared.says_nothing`."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from convscope.checks.loss_task import LossTask
from convscope.diagnosing.suspicion import EXACT
from tests.checks._programs import asked, data, lesson, net, odd


def test_a_loss_that_hears_nothing() -> None:
    def loss(output: Tensor, target: Tensor) -> Tensor:
        return -(target * output.log_softmax(1)).sum(1).mean()

    evidence, found = asked(LossTask(), net(wide=1), data("values"), loss)
    assert [(s.fault, s.strength) for s in found] == [("O5", EXACT)]
    assert lesson(evidence, found[0])[1] > 0.8


def test_squared_errors_of_classes_are_advice_where_they_learn() -> None:
    def loss(output: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(output.softmax(1), F.one_hot(target, 3).float())

    _, found = asked(LossTask(), net(), data(), loss, steps=200)
    assert [(s.fault, s.harmless) for s in found] == [("O5", True)]
    evidence, found = asked(LossTask(), net(), data(), loss, rate=1e-4)
    assert [(s.fault, s.harmless) for s in found] == [("O5", False)]
    before, after = lesson(evidence, found[0], 200)
    assert after >= before


def test_chances_of_quantities() -> None:
    x, y = data("values")
    evidence, found = asked(LossTask(), net(wide=1), (x, 3 * y), F.binary_cross_entropy_with_logits)
    assert [s.fault for s in found] == ["O5"]
    assert lesson(evidence, found[0])[1] > 0.7


def test_what_fits_is_passed_over() -> None:
    assert asked(LossTask(), net(), data(), F.cross_entropy)[1] == []
    assert asked(LossTask(), net(wide=1), data("values"), F.mse_loss)[1] == []
    assert asked(LossTask(), net(wide=1), data("binary"), F.binary_cross_entropy_with_logits)[1] == []


def test_odd_programs() -> None:
    odd(LossTask())
