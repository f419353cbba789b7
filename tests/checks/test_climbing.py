"""Climbing. Mutation that turns this file red: `evidence.loss.factor < 0` → `evidence.loss.factor < -9`."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from convscope.checks.climbing import Climbing
from tests.checks._programs import asked, data, lesson, net, odd


def cubic(output: Tensor, target: Tensor) -> Tensor:
    """A loss that is none of the known ones."""
    return -(output - target).abs().pow(3).mean()


@pytest.mark.parametrize(("wide", "kind", "loss"), [
    (3, "classes", lambda o, t: -F.cross_entropy(o, t)), (1, "values", lambda o, t: -F.mse_loss(o, t)), (1, "values", cubic),
])  # fmt: skip
def test_a_minus_in_front(wide: int, kind: str, loss: object) -> None:
    evidence, found = asked(Climbing(), net(wide=wide), data(kind), loss)
    assert [s.fault for s in found] == ["P3"]
    before, after = lesson(evidence, found[0])
    assert before < 0.1 < 0.6 < after


def test_an_optimiser_that_maximises() -> None:
    evidence, found = asked(Climbing(), net(), data(), F.cross_entropy, options={"maximize": True})
    assert [(s.fault, s.where) for s in found] == [("P3", "optimizer")]
    assert lesson(evidence, found[0])[1] > 0.6
    assert asked(Climbing(), net(), data(), lambda o, t: -F.cross_entropy(o, t), options={"maximize": True})[1] == []


def test_what_descends_is_passed_over() -> None:
    assert asked(Climbing(), net(), data(), F.cross_entropy)[1] == []
    assert asked(Climbing(), net(wide=1), data("values"), lambda o, t: -cubic(o, t))[1] == []
    assert asked(Climbing(), net(), data(), lambda o, t: F.cross_entropy(o, t) - 50)[1] == []
    assert torch.is_grad_enabled()


def test_odd_programs() -> None:
    odd(Climbing())
