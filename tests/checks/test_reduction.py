"""Reduction. Mutation that turns this file red: `abs(evidence.loss.grows - 2) < 0.1` → `< -1`."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convscope.checks.reduction import Reduction
from convscope.diagnosing.suspicion import EXACT
from tests.checks._programs import asked, data, lesson, net, odd


def summed(output: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(output, target, reduction="sum")


def test_a_softmax_over_the_batch() -> None:
    _, found = asked(Reduction(), net(nn.LogSoftmax(dim=0)), data(), F.nll_loss)
    assert [(s.fault, s.strength) for s in found] == [("O9", EXACT)]
    assert "dim=1" in found[0].code


def test_a_softmax_of_the_loss_over_the_batch() -> None:
    def loss(output: Tensor, target: Tensor) -> Tensor:
        return F.nll_loss(output.log_softmax(0), target)

    evidence, found = asked(Reduction(), net(), data(), loss)
    assert [(s.fault, s.strength) for s in found] == [("O9", EXACT)]
    assert lesson(evidence, found[0])[1] > 0.6


def test_errors_averaged_before_they_are_squared() -> None:
    evidence, found = asked(Reduction(), net(wide=1), data("values"), lambda o, t: (o - t).mean(0).square().sum())
    assert [(s.fault, s.strength) for s in found] == [("O9", EXACT)]
    assert lesson(evidence, found[0])[1] > 0.9


def test_a_sum_is_advice_unless_steps_are_wild() -> None:
    _, found = asked(Reduction(), net(), data(), summed, steps=150)
    assert [(s.fault, s.harmless) for s in found] == [("O9", True)]  # Adam's steps do not know the scale
    evidence, found = asked(Reduction(), net(), data(), summed, rate=3.0, kind=torch.optim.SGD)
    assert [(s.fault, s.harmless) for s in found] == [("O9", False)]
    assert found[0].evidence["times the mean"] == pytest.approx(32, rel=0.01)
    before, after = lesson(evidence, found[0])
    assert after > before


def test_means_over_examples_are_right() -> None:
    for model, kind, loss in ((net(), "classes", F.cross_entropy), (net(wide=1), "values", F.mse_loss),
                              (net(wide=1), "values", lambda o, t: (o - t).square().mean().sqrt())):  # fmt: skip
        assert asked(Reduction(), model, data(kind), loss)[1] == []


def test_odd_programs() -> None:
    odd(Reduction())
