"""ExclusiveSigmoids. Mutation that turns this file red: `last.op != "sigmoid"` → `last.op == "sigmoid"`."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from convscope.checks.exclusive_sigmoids import ExclusiveSigmoids
from convscope.diagnosing.suspicion import EXACT
from tests.checks._programs import asked, data, lesson, net, odd


def right_alone(output: Tensor, target: Tensor) -> Tensor:
    return -output.clamp(min=1e-7).log().gather(1, target[:, None]).mean()


def test_a_yes_to_every_class() -> None:
    evidence, found = asked(ExclusiveSigmoids(), net(nn.Sigmoid()), data(), right_alone, steps=300)
    assert [(s.fault, s.strength, s.shows) for s in found] == [("O6", EXACT, True)]
    assert lesson(evidence, found[0])[1] > 0.6


def test_one_question_a_class_is_advice() -> None:
    def loss(output: Tensor, target: Tensor) -> Tensor:
        return F.binary_cross_entropy(output, F.one_hot(target, 3).float())

    _, found = asked(ExclusiveSigmoids(), net(nn.Sigmoid()), data(), loss, steps=200)
    assert all(s.strength < 0.5 for s in found)


def test_what_fits_is_passed_over() -> None:
    assert asked(ExclusiveSigmoids(), net(nn.Softmax(dim=1)), data(), right_alone)[1] == []
    x, _ = data("binary")
    many = (x, (x[:, :3] > 0).float())
    assert asked(ExclusiveSigmoids(), net(nn.Sigmoid()), many, F.binary_cross_entropy)[1] == []


def test_odd_programs() -> None:
    odd(ExclusiveSigmoids())
