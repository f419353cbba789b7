"""P9, the schedule kills the rate.

    η(t)/max η < 1e-3 for half of the training or more: what is left of it moves nothing

ExponentialLR(γ) stepped once a batch gives γ^(batches): 0.8 a batch is 1e-6 after 62 of them. Loshchilov & Hutter 2017,
"SGDR" (a cosine is under 1e-3 for the last 2 % only).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from convscope.diagnosing.changes import rewritten
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.suspicion import EXACT, STRONG, Suspicion
from convscope.fields import param, validate


@dataclass(frozen=True)
class Schedule:
    """Does the schedule leave a rate to learn with?

    Formula: share of the training (epochs; steps of a watched run) whose rate is under `killed` times the largest, from 0 to
    1. Misleads where the network has learned all there is before the rate falls: then there is no symptom.
    Errors: none. Source: Loshchilov & Hutter 2017, "SGDR: stochastic gradient descent with warm restarts".

    >>> import torch
    >>> from convscope.diagnosing import given
    >>> net = torch.nn.Linear(4, 2)
    >>> optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    >>> falling = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.01)
    >>> data = (torch.randn(16, 4), torch.arange(16) % 2)
    >>> made = given.program(net, data, "cross-entropy", optimizer, scheduler=falling, epochs=10)
    >>> [s.fault for s in Schedule()(Evidence(made))]
    ['P9']
    """

    needs: ClassVar[str] = "program"
    killed: float = param(1e-3, "rate over the largest, under which nothing moves", low=0, high=1)
    share: float = param(0.5, "share of the training that may have such a rate", low=0, high=1)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, evidence: Evidence) -> Iterator[Suspicion]:
        planned = np.array(evidence.program.rates, float)
        seen = (
            np.zeros(0)
            if evidence.run is None
            else np.asarray(evidence.run.steps.get("rate", np.zeros(0)), float).reshape(-1)
        )
        for rates, unit in ((planned, "epoch"), (seen, "step")):
            if len(rates) < 4 or not np.isfinite(rates).all() or not rates.max() > 0:
                continue
            low = rates < self.killed * rates.max()
            if low.mean() < self.share or low[: len(low) // 4].all():  # a warm-up from nothing is another thing
                continue
            first = int(np.argmax(low & (np.arange(len(low)) > int(rates.argmax()))))
            yield Suspicion(
                "P9",
                EXACT if low.mean() > 0.8 else STRONG,
                "it learns at first, then nothing changes any more",
                f"from {unit} {first + 1} of {len(rates)} on the rate is under {self.killed:g} of what it was: "
                f"the schedule falls by {_factor(rates):.2g} a{'n epoch' if unit == 'epoch' else ' step'}",
                "step the schedule once an epoch, or let it fall more slowly",
                {
                    f"share of {unit}s with no rate left": float(low.mean()),
                    "threshold": self.share,
                    "last rate over the largest": float(rates[-1] / rates.max()),
                },
                "scheduler",
                "- for x, y in loader: …; scheduler.step()\n+ for x, y in loader: …\n+ scheduler.step()  # once an epoch"
                if unit == "step"
                else "- scheduler.step()  # falls to nothing within a few epochs\n+ # constant, or gentler",
                "with a constant rate the loss stops at the same value",
                rewritten(lambda program: replace(program, rates=()), "a constant rate"),
            )
            return


def _factor(rates: np.ndarray) -> float:
    good = rates[rates > 0]
    return float((good[-1] / good[0]) ** (1 / max(1, len(good) - 1))) if len(good) > 1 else 0.0
