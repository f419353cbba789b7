"""Learned by heart. Mutation: `train - there < self.gap` → `train - there > self.gap`, and the first test is red."""

from __future__ import annotations

import torch

from convscope.checks.overfitting import Overfitting
from convscope.diagnosing import given
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.suspicion import Suspicion
from convscope.diagnosing.trial import train


def said(x: torch.Tensor, y: torch.Tensor, **words: object) -> list[Suspicion]:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(20, 256), torch.nn.ReLU(), torch.nn.Linear(256, 2))
    program = given.program(net, (x[:60], y[:60]), "cross-entropy", "adam:0.01", held_out=(x[60:], y[60:]), **words)
    evidence = Evidence(program, seconds=2.0)
    evidence.__dict__["trial"] = train(program.twin(), 0, 200, 20.0)  # the same on a slow machine
    return list(Overfitting()(evidence))


def test_labels_without_a_rule_are_learned_by_heart() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(200, 20, generator=generator), torch.randint(0, 2, (200,), generator=generator)
    (one,) = said(x, y)
    assert (one.fault, one.strength) == ("E3", 0.6)
    assert one.evidence["accuracy, training"] == 1.0
    assert one.change is not None


def test_a_rule_that_holds_is_left_in_peace() -> None:
    x = torch.randn(200, 20, generator=torch.Generator().manual_seed(0))
    assert said(x, (x[:, 0] > 0).long()) == []
