"""Small programs for the checks of outputs and losses: faulty ones, their healthy twins, and odd ones."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from convscope.diagnosing import given
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.suspicion import Suspicion
from convscope.diagnosing.trial import train


def data(kind: str = "classes", n: int = 96, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Four features; three classes, a yes or no, or a quantity that hang on them."""
    x = torch.randn(n, 4, generator=torch.Generator().manual_seed(seed))
    if kind == "classes":
        return x, x[:, :3].argmax(1)
    if kind == "binary":
        return x, (x[:, :1] > 0).float()
    return x, x[:, :1] + 0.5 * x[:, 1:2]


def net(*last: nn.Module, wide: int = 3, seed: int = 1) -> nn.Sequential:
    """4 > 16 > `wide`, and what stands behind it."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, wide), *last)


def asked(
    check: Any, model: Any, examples: Any, loss: Any, rate: float = 0.01, **words: Any
) -> tuple[Evidence, list[Suspicion]]:
    """What a check says of a program."""
    kind = words.pop("kind", torch.optim.Adam)
    options, steps = words.pop("options", {}), words.pop("steps", 60)
    optimizer = kind(model.parameters(), lr=rate, **options)
    program = given.program(model, examples, loss, optimizer, batch_size=words.pop("batch", 32), **words)
    evidence = Evidence(program, seconds=1.5)
    evidence.__dict__["trial"] = train(program.twin(), 0, steps, 1.0)  # the same on a slow machine
    return evidence, list(check(evidence))


def lesson(evidence: Evidence, suspicion: Suspicion, steps: int = 120) -> tuple[float, float]:
    """(share of the way without the remedy, with it), after as many steps from the same weights."""
    assert suspicion.change is not None
    shares = []
    for program in (evidence.program.twin(), suspicion.change.apply(evidence.program.twin())):
        train(program, 0, steps, 5.0)
        shares.append(evidence.judge(program).share)
    return shares[0], shares[1]


class Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


def odd(check: Any) -> None:
    """Programs that are unlike what a check expects: it stays silent or speaks, and never raises."""
    x, y = data()
    embedded = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(12, 3))
    broken = nn.Sequential(nn.Linear(5, 3))
    paired = nn.Sequential(nn.Linear(4, 3), Pair())

    def fails(output: Tensor, target: Tensor) -> Tensor:
        raise ValueError("a loss that raises")

    for model, examples, loss in (
        (paired, (x, y), lambda output, target: output[0].square().mean()),
        (net(), (x, y), fails),
        (net(), x, lambda output: output.square().mean()),
        (net(), x, lambda output: -output.mean()),
        (net(), (x * torch.nan, y), "cross-entropy"),
        (broken, (x, y), "cross-entropy"),
        (embedded, (torch.randint(0, 9, (32, 3)), y[:32]), "cross-entropy"),
        (net(), (x[:1], y[:1]), "cross-entropy"),
        (net(), (x, y), lambda output, target: nn.functional.cross_entropy(output, target, reduction="none")),
        (net(wide=1), (x, y.float()), lambda output, target: float((output[:, 0] - target).mean())),
        (nn.Flatten(), (x[:, :3], y), "cross-entropy"),
    ):
        optimizer: Any = torch.optim.SGD(list(model.parameters()) or [torch.zeros(1, requires_grad=True)], 0.01)
        evidence = Evidence(given.program(model, examples, loss, optimizer, epochs=1), seconds=0.3)
        for suspicion in check(evidence):
            assert suspicion.cause
            assert suspicion.remedy
