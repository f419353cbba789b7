"""Watched loops for the tests of the checks of a run: healthy ones of many kinds, and what a check says of one."""

from __future__ import annotations

import functools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import convscope as cs
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.suspicion import HINT, Suspicion
from convscope.results import Run
from tests.watching.loops import Loop, Net


def said(check: Any, run: Run) -> list[Suspicion]:
    """What a check suspects of a record alone."""
    return list(check(Evidence(None, run)))  # type: ignore[arg-type]


def of(check: Any, **fault: Any) -> list[Suspicion]:
    """The same of a loop with one fault."""
    return said(check, Loop(**fault).watched())


def _head_alone() -> nn.Module:
    model = Net()
    for p in (*model.conv.parameters(), *model.norm.parameters(), *model.fc1.parameters()):
        p.requires_grad_(False)
    return model


class StillNorm(Net):
    """A batch norm that keeps its statistics in training: `train()` leaves it in evaluation mode."""

    def train(self, mode: bool = True) -> nn.Module:
        super().train(mode)
        self.norm.eval()
        return self


def _cosine(optimizer: Any) -> Any:
    return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 12)


def _cycle(optimizer: Any) -> Any:
    return torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, 12)


def _autocast(output: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(output.float(), y)


def _adam(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), lr=0.005)


def _trained(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.05)


def _two_optimizers() -> Run:
    torch.manual_seed(1)
    net, x, y = Net(), torch.randn(8, 1, 8, 8), torch.arange(8)
    late = [*net.fc1.parameters(), *net.fc2.parameters()]
    early = [*net.conv.parameters(), *net.norm.parameters()]
    both = [torch.optim.SGD(early, lr=0.01), torch.optim.Adam(late, lr=0.003)]
    with cs.watch(net, both, full=True) as run:
        for _ in range(12):
            for one in both:
                one.zero_grad()
            F.cross_entropy(net(x), y).backward()
            for one in both:
                one.step()
    return run.result()


@functools.cache
def healthy() -> dict[str, Run]:
    """Sound loops that look like a fault from some side."""
    torch.manual_seed(0)
    twice = "zero forward backward forward backward forward backward step"
    found = {name: loop.watched() for name, loop in {
        "plain": Loop(), "long": Loop(steps=60, per_epoch=20),
        "cleared afterwards": Loop(order="forward backward step zero"),
        "gradients gathered over three passes": Loop(order=twice), "Adam": Loop(optimizer=_adam),
        "the head alone": Loop(model=_head_alone, optimizer=_trained), "cosine to zero": Loop(scheduler=_cosine),
        "one cycle": Loop(scheduler=_cycle, optimizer=_adam), "clipped a little": Loop(clip=1.0),
        "bfloat16": Loop(dtype=torch.bfloat16, loss=_autocast), "a batch norm that is frozen": Loop(model=StillNorm),
        "sampled": Loop(steps=40, settings={"every": 10})}.items()}  # fmt: skip
    return {**found, "two optimisers": _two_optimizers()}


def assert_healthy_is_left_alone(check: Any) -> None:
    """Nothing above a hint on any of them."""
    loud = {
        name: [(s.fault, s.strength, s.symptom) for s in said(check, run) if s.strength > HINT]
        for name, run in healthy().items()
    }
    assert not any(loud.values()), {name: found for name, found in loud.items() if found}
