"""Gradients add up in `p.grad` until somebody clears them: g_k = ∂L_k/∂θ + g_{k−1} + … without zero_grad."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from convscope.checks._loop import Loop
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.suspicion import EXACT, Suspicion
from convscope.fields import param, validate


@dataclass(frozen=True)
class ClearedGradients:
    """Are the gradients of a step cleared before those of the next are added?

    left over = steps whose backward pass began on gradients of an earlier step; accumulation over several backward passes
    *within* a step is not counted. Misleads where the watch saw fewer than `least` steps whole. Source: the loop itself.

    >>> import numpy as np, torch, convscope as cs
    >>> net = torch.nn.Linear(2, 1)
    >>> optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
    >>> with cs.watch(net, optimizer) as run:
    ...     for _ in range(6):
    ...         net(torch.ones(4, 2)).sum().backward(); optimizer.step()
    >>> cs.check(run.result()).findings[0].fault
    'P4'
    """

    needs: ClassVar[str] = "run"
    least: int = param(3, "steps that must have been seen", low=1)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, evidence: Evidence) -> Iterator[Suspicion]:
        loop = Loop(evidence)
        left, cleared = loop.count("left_over"), loop.count("zero_grads")
        if left < self.least or left < 4 * cleared:
            return
        yield Suspicion(
            "P4",
            EXACT,
            "gradients of earlier steps are still there when new ones are added",
            f"backward() adds to p.grad; in {left} of {left + cleared} steps seen nothing had been cleared, so each step "
            "follows the sum of all gradients so far: the step grows, then the loss",
            "clear them once a step, before backward()",
            {
                "steps with gradients left over": left,
                "steps with cleared gradients": cleared,
                "threshold": f"{self.least} steps, 80 %",
            },
            code="+ optimizer.zero_grad()\n  loss.backward()\n  optimizer.step()",
            disproof="p.grad is None or zero at the begin of each backward pass",
            shows=True,
        )
