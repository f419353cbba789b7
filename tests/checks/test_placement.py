"""Placement. Mutation that turns this file red: `_feeds_a_layer(evidence, i)` → `not _feeds_a_layer(evidence, i)`."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convscope.checks.placement import Placement
from convscope.diagnosing.suspicion import EXACT
from tests.checks._programs import asked, data, lesson, net, odd


def test_a_hidden_softmax() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 32), nn.Softmax(1), nn.Linear(32, 32), nn.Softmax(1), nn.Linear(32, 3))
    evidence, found = asked(Placement(), model, data(), F.cross_entropy)
    assert [(s.fault, s.evidence["hidden softmax calls"]) for s in found] == [("O10", 2)]
    before, after = lesson(evidence, found[0], 60)
    assert after > before + 0.2


def test_attention_is_no_hidden_softmax() -> None:
    class Attended(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.score, self.out = nn.Linear(4, 4), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.score(x).softmax(1) * x)

    assert asked(Placement(), Attended(), data(), F.cross_entropy)[1] == []


def test_activations_on_logits() -> None:
    _, found = asked(Placement(), net(nn.Tanh()), data(), F.cross_entropy)
    assert [(s.fault, s.strength, s.shows) for s in found] == [("O10", EXACT, True)]
    sure = F.cross_entropy(torch.tensor([[1.0, -1.0, -1.0]]), torch.tensor([0]))
    assert abs(float(found[0].evidence["lowest loss within reach"]) - float(sure)) < 1e-6
    evidence, found = asked(Placement(), net(nn.ReLU()), data(), F.cross_entropy)
    assert [s.fault for s in found] == ["O10"]
    assert lesson(evidence, found[0])[1] > 0.6


def test_dropout_on_the_answers() -> None:
    _, found = asked(Placement(), net(nn.Dropout(0.5)), data(), F.cross_entropy)
    assert [s.fault for s in found] == ["O10"]
    assert "Dropout" in found[0].code


def test_batch_norm_on_the_answers() -> None:
    _, found = asked(Placement(), net(nn.BatchNorm1d(1), wide=1), data("values"), F.mse_loss, rate=1e-4)
    assert [s.fault for s in found] == ["A11"]


def test_what_stands_right() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 3))
    assert asked(Placement(), model, data(), F.cross_entropy)[1] == []
    assert asked(Placement(), net(nn.Sigmoid(), wide=1), data("binary"), F.binary_cross_entropy)[1] == []
    assert asked(Placement(), net(nn.LogSoftmax(1)), data(), F.nll_loss)[1] == []


def test_odd_programs() -> None:
    odd(Placement())
