"""OutputWidth. Mutation that turns this file red: `numbers != targets.numbers` → `numbers < targets.numbers`."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convscope.checks.output_width import OutputWidth
from convscope.diagnosing.suspicion import EXACT
from tests.checks._programs import asked, data, lesson, net, odd


def test_more_outputs_than_targets() -> None:
    evidence, found = asked(OutputWidth(), net(wide=5), data("values"), lambda o, t: (o - t).square().mean())
    assert [(s.fault, s.strength) for s in found] == [("O7", EXACT)]
    assert lesson(evidence, found[0])[1] > 0.8


def test_one_output_for_three_classes() -> None:
    def loss(output: Tensor, target: Tensor) -> Tensor:
        t = target.float()[:, None]
        p = output.clamp(1e-7, 1 - 1e-7)
        return -(t * p.log() + (1 - t) * (1 - p).log()).mean()

    evidence, found = asked(OutputWidth(), net(nn.Sigmoid(), wide=1), data(), loss)
    assert [(s.fault, s.strength) for s in found] in ([("O7", EXACT)], [])  # where the loss is not one that is known
    if found:
        assert lesson(evidence, found[0])[1] > 0.6


def test_a_loss_that_cuts_the_outputs_itself() -> None:
    def loss(output: Tensor, target: Tensor) -> Tensor:  # an answer and its spread, side by side
        return ((output[:, :1] - target).square() * (-output[:, 1:]).exp() + output[:, 1:]).mean()

    assert asked(OutputWidth(), net(wide=2), data("values"), loss)[1] == []


def test_the_right_width() -> None:
    assert asked(OutputWidth(), net(), data(), F.cross_entropy)[1] == []
    assert asked(OutputWidth(), net(wide=4), data(), F.cross_entropy)[1] == []
    assert asked(OutputWidth(), net(wide=1), data("values"), F.mse_loss)[1] == []
    _, found = asked(OutputWidth(), net(wide=90), data(), F.cross_entropy)
    assert [(s.fault, s.harmless) for s in found] == [("O7", True)]
    assert torch.is_grad_enabled()


def test_odd_programs() -> None:
    odd(OutputWidth())
