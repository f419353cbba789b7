"""Weight decay and penalties in the loss, against the pull of the data.

Mutation that turns this red: in penalty.py, `by_loss > self.notable` → `by_loss < self.notable`.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convscope.checks.penalty import Penalty
from convscope.diagnosing.evidence import Evidence
from tests.checks import small


def _penalised(model: nn.Module, strength: float) -> Any:
    def loss(output: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(output, target) + strength * sum(p.square().sum() for p in model.parameters())

    return loss


def test_a_penalty_in_the_loss_rules_and_a_weaker_one_mends() -> None:
    model = small.net()
    program = small.made(model, loss=_penalised(model, 1.0))
    (one,) = small.found(Penalty(), program)
    assert (one.fault, one.strength) == ("P8", 0.8)
    control, changed = small.shares(program, one.change)
    assert changed > control + 0.2


def test_the_ratio_is_that_of_the_gradients() -> None:
    model = small.net()
    program = small.made(model, loss=_penalised(model, 0.5), epochs=1)
    evidence = Evidence(program)
    (one,) = Penalty()(evidence)
    assert evidence.y is not None
    by_hand = torch.autograd.grad(F.cross_entropy(model(evidence.x), evidence.y), list(model.parameters()))
    data = sum(float(g.square().sum()) for g in by_hand) ** 0.5
    theta = sum(float(p.detach().square().sum()) for p in model.parameters()) ** 0.5  # the penalty's gradient is 2 · 0.5 · θ
    assert float(one.evidence["penalty's gradient over the data's"]) == pytest.approx(theta / data, rel=1e-3)


def test_weight_decay_too() -> None:
    model = small.net()
    program = small.made(model, torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=1.0))
    (one,) = small.found(Penalty(), program)
    control, changed = small.shares(program, one.change, 600)
    assert one.where == "optimizer"
    assert changed > control
    decoupled = small.made(model, torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.5))
    assert [s.fault for s in small.found(Penalty(), decoupled)] == ["P8"]


def test_usual_penalties_are_left_alone() -> None:
    model = small.net()
    for optimizer in (torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=5e-4), torch.optim.AdamW(model.parameters())):
        assert small.found(Penalty(), small.made(model, optimizer, epochs=1)) == []
    assert small.found(Penalty(), small.made(model, loss=_penalised(model, 1e-4), epochs=1)) == []


def test_odd_programs_are_no_matter() -> None:
    for name, evidence in small.odd().items():
        assert isinstance(list(Penalty()(evidence)), list), name
