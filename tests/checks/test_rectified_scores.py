"""A ReLU on the scores of classes. Mutation: `ops[-2] != "relu"` → `ops[-2] == "relu"`, and both tests are red."""

from __future__ import annotations

import torch
from torch import nn

from convscope.checks.rectified_scores import RectifiedScores
from convscope.diagnosing import given
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.suspicion import Suspicion


def said(*last: nn.Module) -> tuple[Evidence, list[Suspicion]]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 1), *last)
    x = torch.randn(32, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    evidence = Evidence(given.program(net, (x, torch.arange(32) % 4), "nll", "adam:0.01"), seconds=0.5)
    return evidence, list(RectifiedScores()(evidence))


POOLED = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LogSoftmax(dim=1))


def test_a_relu_before_pooling_and_softmax_is_found_and_left_out() -> None:
    evidence, (one,) = said(nn.ReLU(), *POOLED)
    assert (one.fault, one.where) == ("O10", "3")
    assert 0 < float(one.evidence["share of the scores at exactly 0"]) < 1
    assert one.change is not None
    assert one.change.apply(evidence.program.twin()).rules.keys() == {"relu#1"}


def test_scores_as_they_are_and_a_leaky_relu_are_left_in_peace() -> None:
    assert said(*POOLED)[1] == []
    assert said(nn.LeakyReLU(0.1), *POOLED)[1] == []
