"""Clipping to norm c: g ← g · min(1, c/‖g‖). If it bites at every step and hard, c is the learning rate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from convscope.checks._loop import Loop
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.suspicion import EXACT, LIKELY, Suspicion
from convscope.fields import param, validate


@dataclass(frozen=True)
class ClippedGradients:
    """Are gradients clipped so tightly that nothing moves?

    Told where nearly all steps seen are clipped *and* the median gradient is cut below `hard` of itself; clipping that
    always bites a little is a choice (as in language models). Misleads with Adam: the scale cancels.
    Source: Pascanu et al. 2013.

    >>> import torch, convscope as cs
    >>> net = torch.nn.Linear(2, 1)
    >>> optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    >>> with cs.watch(net, optimizer) as run:
    ...     for _ in range(6):
    ...         optimizer.zero_grad(); net(torch.ones(4, 2)).sum().backward()
    ...         _ = torch.nn.utils.clip_grad_norm_(net.parameters(), 1e-6); optimizer.step()
    >>> cs.check(run.result()).findings[0].fault
    'P13'
    """

    needs: ClassVar[str] = "run"
    often: float = param(0.95, "share of clipped steps", low=0, high=1)
    hard: float = param(0.01, "what is left of the median gradient", low=0, high=1)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, evidence: Evidence) -> Iterator[Suspicion]:
        loop = Loop(evidence)
        share, factor, norm = loop.number("clipped"), loop.number("clip_factor"), loop.number("gradient_norm_before")
        if not (share >= self.often and factor < self.hard):
            return
        yield Suspicion(
            "P13",
            EXACT if factor < 1e-3 else LIKELY,
            "the weights hardly move: gradients are clipped to almost nothing",
            f"{100 * share:.0f} % of the steps seen are clipped, from a norm of {norm:.3g} to {factor:.2g} of it",
            f"clip near the usual norm (about {norm:.2g}), or not at all",
            {
                "clipped steps": share,
                "threshold (steps)": self.often,
                "left of the gradient": factor,
                "threshold (left)": self.hard,
                "median norm before": norm,
            },
            code=f"- clip_grad_norm_(model.parameters(), {factor * norm:.1g})\n+ clip_grad_norm_(model.parameters(), "
            f"{max(norm, 1e-12):.1g})",
            disproof="the loss falls as slowly without clipping",
            shows=factor < 1e-3,
        )
