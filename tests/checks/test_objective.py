"""Objective. Mutation that turns this file red: `g - g.mean(1, keepdim=True)` → `g` in `_replay.passed`.

The program of the issue is here: 64 inputs and outputs, three hidden layers, tanh and batch norm at the output, 80 steps.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from convscope.checks.objective import Objective
from convscope.diagnosing.trial import train
from tests.checks._programs import asked, net, odd

G = torch.Generator().manual_seed(0)
PATTERN = 0.7 * torch.sign(torch.randn(64, generator=G))
GAINS = torch.randn(64, 64, generator=G).abs()


def sum_rate(output: Tensor) -> Tensor:
    """Minus the mean rate of 64 links with powers σ(o), each disturbed by the others."""
    power = output.sigmoid()
    own = power * GAINS.diagonal()
    return -torch.log2(1 + own / (power @ GAINS - own + 1)).sum(1).mean()


OBJECTIVES: dict[str, Callable[[Tensor], Tensor]] = {
    "pattern": lambda o: (o - PATTERN).square().mean(), "beyond": lambda o: (o - 2 * PATTERN).square().mean(),
    "polynomial": lambda o: (o**4 - o**2 + 0.3 * o).mean(), "rate": sum_rate, "linear": lambda o: (o @ PATTERN).mean(),
}  # fmt: skip


def of_the_issue(norm: bool = True) -> nn.Sequential:
    torch.manual_seed(0)
    hidden = [part for _ in range(3) for part in (nn.Linear(64, 64), nn.LeakyReLU(), nn.BatchNorm1d(64))]
    return nn.Sequential(*hidden, nn.Linear(64, 64), nn.Tanh(), *([nn.BatchNorm1d(64)] if norm else []))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_program_of_the_issue(name: str) -> None:
    x = torch.randn(80 * 16, 64, generator=torch.Generator().manual_seed(1))
    evidence, found = asked(Objective(), of_the_issue(), x, OBJECTIVES[name], rate=0.001, batch=16, steps=80, epochs=1)
    first = found[0]
    assert (first.fault, first.where, first.shows) == ("A11", "11", True)
    assert "- (11): BatchNorm1d(64" in first.code
    assert first.change is not None
    lows = []
    for seed in range(2):
        pair = (evidence.program.twin(), first.change.apply(evidence.program.twin()))
        lows.append([train(program, seed, 80, 5.0).last for program in pair])
    start, low = evidence.start, float(first.evidence["lowest loss without it"])
    for with_norm, without in lows:
        assert with_norm - without > 0.05 * (start - low)  # a twentieth of the way at least, in the same steps


def test_the_gradient_that_all_examples_share_does_not_pass() -> None:
    x = torch.randn(64, 64, generator=torch.Generator().manual_seed(1))
    _, found = asked(Objective(), of_the_issue(), x, OBJECTIVES["linear"], rate=0.001, batch=16, steps=20)
    assert float(found[0].evidence["share of the gradient that passes"]) < 1e-3


@pytest.mark.parametrize("name", ["pattern", "polynomial", "linear"])
def test_without_the_norm_there_is_nothing_to_say(name: str) -> None:
    x = torch.randn(256, 64, generator=torch.Generator().manual_seed(1))
    assert asked(Objective(), of_the_issue(False), x, OBJECTIVES[name], rate=0.001, batch=16, steps=80)[1] == []


def test_out_of_reach_of_a_tanh_and_without_end() -> None:
    x = torch.randn(64, 4, generator=torch.Generator().manual_seed(1))
    _, found = asked(Objective(), net(nn.Tanh()), x, lambda o: (o - 3).square().mean())
    assert [s.fault for s in found] == ["O4"]
    _, found = asked(Objective(), net(), x, lambda o: -o.mean())
    assert [(s.fault, s.harmless) for s in found] == [("O5", True)]
    assert asked(Objective(), net(), x, lambda o: (o - 3).square().mean())[1] == []


def test_odd_programs() -> None:
    odd(Objective())
