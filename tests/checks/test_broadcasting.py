"""Broadcasting. Mutation that turns this file red: `here <= self.slack < there` → `there <= self.slack < here`."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from convscope.checks.broadcasting import Broadcasting
from convscope.diagnosing.suspicion import EXACT
from tests.checks._programs import asked, data, lesson, net, odd


def mean(output: Tensor, target: Tensor) -> Tensor:
    return (output - target).square().mean()


def test_a_column_against_a_row() -> None:
    x, y = data("values")
    evidence, found = asked(Broadcasting(), net(wide=1), (x, y[:, 0]), mean)
    assert [(s.fault, s.strength, s.shows) for s in found] == [("O8", EXACT, True)]
    before, after = lesson(evidence, found[0])
    assert before < 0.3 < 0.8 < after


def test_a_row_against_a_column() -> None:
    x, y = data("values")
    _, found = asked(Broadcasting(), net(nn.Flatten(0), wide=1), (x, y), mean)
    assert [s.fault for s in found] == ["O8"]


def test_one_shape_or_a_loss_that_minds_it() -> None:
    x, y = data("values")
    assert asked(Broadcasting(), net(wide=1), (x, y), mean)[1] == []
    assert asked(Broadcasting(), net(wide=1), (x, y[:, 0]), lambda o, t: mean(o[:, 0], t))[1] == []
    assert asked(Broadcasting(), net(), data(), F.cross_entropy)[1] == []


def test_odd_programs() -> None:
    odd(Broadcasting())
