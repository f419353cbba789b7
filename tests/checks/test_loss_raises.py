"""LossRaises. Mutation that turns this file red: `return "O5" if targets.kind == "values" else "D6"` → `return "D6"`."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from convscope.checks.loss_raises import LossRaises
from convscope.diagnosing.suspicion import EXACT
from tests.checks._programs import asked, data, lesson, net, odd


def test_quantities_in_a_loss_of_chances() -> None:
    evidence, found = asked(LossRaises(), net(nn.Sigmoid(), wide=1), data("values"), F.binary_cross_entropy)
    assert [(s.fault, s.strength, s.shows) for s in found] == [("O5", EXACT, True)]
    assert lesson(evidence, found[0])[1] > 0.8


@pytest.mark.parametrize(("turn", "fault"), [
    (lambda y: y + 1, "D6"), (lambda y: y.float(), "D6"), (lambda y: y[:, None], "D6"), (lambda y: F.one_hot(y, 3), "D6"),
])  # fmt: skip
def test_labels_coded_otherwise(turn: object, fault: str) -> None:
    x, y = data()
    evidence, found = asked(LossRaises(), net(), (x, turn(y)), F.cross_entropy)  # type: ignore[operator]
    assert [s.fault for s in found] == [fault]
    assert lesson(evidence, found[0])[1] > 0.6


def test_shapes_and_ranges() -> None:
    x, y = data("binary")
    _, found = asked(LossRaises(), net(nn.Sigmoid(), wide=1), (x, y[:, 0]), F.binary_cross_entropy)
    assert [s.fault for s in found] == ["O8"]
    _, found = asked(LossRaises(), net(wide=1), (x, y), F.binary_cross_entropy)
    assert [s.fault for s in found] == ["O3"]
    _, found = asked(LossRaises(), nn.Sequential(nn.Linear(4, 8), nn.Linear(9, 3)), data(), F.cross_entropy)
    assert [s.fault for s in found] == ["A9"]
    assert "4" in str(found[0].evidence["targets"]) or found[0].where


def test_a_loss_for_each_example() -> None:
    evidence, found = asked(LossRaises(), net(), data(), lambda o, t: F.cross_entropy(o, t, reduction="none"))
    assert [s.fault for s in found] == ["O9"]
    assert lesson(evidence, found[0])[1] > 0.6


def test_what_runs_is_passed_over() -> None:
    assert asked(LossRaises(), net(), data(), F.cross_entropy)[1] == []
    assert torch.is_grad_enabled()


def test_odd_programs() -> None:
    odd(LossRaises())
