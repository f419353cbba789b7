"""Small programs for the tests of the checks: a task that is learned at once, odd programs, and a remedy that is tried."""

from __future__ import annotations

import functools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convscope.diagnosing import given
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.program import Program
from convscope.diagnosing.suspicion import Change, Suspicion
from convscope.diagnosing.trial import train


def rings(n: int = 256, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Points in 8 dimensions and three classes that no straight line parts: by |x₀| + |x₁|."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 8, generator=generator)
    return x, torch.bucketize(x[:, :2].abs().sum(1), torch.tensor([1.1, 1.9]))


def net(*hidden: nn.Module, seed: int = 0) -> nn.Sequential:
    """8 numbers → `hidden` → 3 classes; 32 ReLU units where nothing is given."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = hidden or (nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))
        for layer in layers:
            if hasattr(layer, "reset_parameters"):
                layer.reset_parameters()  # type: ignore[operator]
        return nn.Sequential(*layers)


def made(model: nn.Module, optimizer: Any = "adam:0.01", data: Any = None, **words: Any) -> Program:
    """A program over the rings, cross-entropy unless `loss` is given."""
    loss = words.pop("loss", "cross-entropy")
    return given.program(model, rings() if data is None else data, loss, optimizer, **words)


def found(check: Any, program: Program, seconds: float = 1.0) -> list[Suspicion]:
    """What a check suspects."""
    return list(check(Evidence(program, seconds=seconds)))


def shares(program: Program, change: Change | None, steps: int = 200) -> tuple[float, float]:
    """(control, changed): the share of the way to perfect after as many steps."""
    assert change is not None
    scores: list[float] = []
    for twin in (program.twin(), change.apply(program.twin())):
        trial = train(twin, 0, steps, 5.0)
        assert not trial.problem, trial.problem
        scores.append(Evidence(twin).judge(twin).share)
    return scores[0], scores[1]


class Two(nn.Linear):
    """A network with two outputs."""

    def forward(self, input: Tensor) -> Any:
        out = super().forward(input)
        return out, out


class Refuses(nn.Linear):
    """A network that fails."""

    def forward(self, input: Tensor) -> Tensor:
        raise ValueError("no")


def _raises(output: Tensor, target: Tensor) -> Tensor:
    raise RuntimeError("no loss")


@functools.cache
def odd() -> dict[str, Evidence]:
    """Programs on which no check may raise, measured once."""
    torch.manual_seed(0)
    x, y = rings(32)
    nan = x.clone()
    nan[3] = torch.nan
    words = torch.arange(64).reshape(32, 2) % 5
    embedded = nn.Sequential(nn.Embedding(5, 4), nn.Flatten(), nn.Linear(8, 3))
    programs = {
        "two outputs": given.program(Two(8, 3), (x, y), lambda out, t: F.cross_entropy(out[0], t), "sgd:0.1", epochs=1),
        "fails": given.program(Refuses(8, 3), (x, y), "cross-entropy", "sgd:0.1", epochs=1),
        "loss fails": given.program(nn.Linear(8, 3), (x, y), _raises, "sgd:0.1", epochs=1),
        "no targets": given.program(nn.Linear(8, 3), x, lambda out: out.square().mean(), "sgd:0.1", epochs=1),
        "objective": given.program(nn.Linear(8, 3), (x, y), lambda out: -out.mean(), "sgd:0.1", epochs=1),
        "NaN": given.program(nn.Linear(8, 3), (nan, y), "cross-entropy", "sgd:0.1", epochs=1),
        "integers": given.program(embedded, (words, y), "cross-entropy", "sgd:0.1", epochs=1),
        "one example": given.program(nn.Linear(8, 3), (x[:1], y[:1]), "cross-entropy", "sgd:0.1", epochs=1),
        "no weights": given.program(nn.Flatten(), (x, y), "cross-entropy", _nothing, epochs=1),
    }
    return {name: Evidence(program, seconds=0.3) for name, program in programs.items()}


def _nothing(parameters: list[Any]) -> torch.optim.Optimizer:
    return torch.optim.SGD([*parameters, torch.zeros(1, requires_grad=True)], lr=0.1)
