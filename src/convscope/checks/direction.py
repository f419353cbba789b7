"""cos(Δθ, ∂L/∂θ): a step that descends has it below 0."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from convscope.checks._loop import Loop
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.suspicion import EXACT, STRONG, Suspicion
from convscope.fields import param, validate


@dataclass(frozen=True)
class Direction:
    """Do the steps of the watched loop go down the gradient?

    sign = median over steps of cos(Δθ, ∂L/∂θ): −1 for plain gradient descent, near −0.5 for Adam, above 0 where the gradient
    is climbed (maximize=True, a negative rate). Misleads: a loss whose sign is wrong is descended as it should be:
    that is another check's. Source: the loop itself.

    >>> import torch, convscope as cs
    >>> net = torch.nn.Linear(2, 1)
    >>> optimizer = torch.optim.SGD(net.parameters(), lr=1e-3, maximize=True)
    >>> with cs.watch(net, optimizer) as run:
    ...     for _ in range(6):
    ...         optimizer.zero_grad(); net(torch.ones(4, 2)).square().sum().backward(); optimizer.step()
    >>> cs.check(run.result()).findings[0].fault
    'P3'
    """

    needs: ClassVar[str] = "run"
    cosine: float = param(0.1, "median cosine of step and gradient from which on it climbs", low=0, high=1)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, evidence: Evidence) -> Iterator[Suspicion]:
        sign = Loop(evidence).number("sign")
        if sign > self.cosine:
            yield Suspicion(
                "P3",
                EXACT if sign > 0.5 else STRONG,
                "every step climbs the loss",
                f"step and gradient point the same way (cosine {sign:.2f}); descent has it below 0",
                "descend: no maximize=True, a positive rate, the loss with its right sign",
                {"cosine of step and gradient": sign, "threshold": self.cosine},
                code="- optimizer = torch.optim.SGD(model.parameters(), lr=…, maximize=True)\n"
                "+ optimizer = torch.optim.SGD(model.parameters(), lr=…)",
                disproof="the loss is meant to be maximised",
                shows=True,
            )
