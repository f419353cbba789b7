"""A schedule that is stepped once a batch, not once an epoch: rate_k = rate · γ^k is gone before the first epoch ends."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from convscope.checks._loop import Loop
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.suspicion import EXACT, LIKELY, Suspicion
from convscope.fields import param, validate


@dataclass(frozen=True)
class DecayedRate:
    """Has the schedule killed the learning rate while there was still training to do?

    Told where the median rate of the second half of the run is below `gone` times the highest. A cosine or one-cycle
    schedule ends near 0 but its second half does not. Misleads: a plateau schedule that gave up shows the same.
    Source: the loop.

    >>> import torch, convscope as cs
    >>> net = torch.nn.Linear(2, 1)
    >>> optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    >>> schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    >>> with cs.watch(net, optimizer) as run:
    ...     for _ in range(40):
    ...         optimizer.zero_grad(); net(torch.ones(4, 2)).square().sum().backward(); optimizer.step(); schedule.step()
    >>> [f.fault for f in cs.check(run.result()).findings][0]
    'P9'
    """

    needs: ClassVar[str] = "run"
    gone: float = param(0.005, "share of the highest rate below which nothing is learned any more", low=0, high=1)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, evidence: Evidence) -> Iterator[Suspicion]:
        loop = Loop(evidence)
        rates = np.asarray(loop.names("rate_by_step"), np.float64)
        if len(rates) < 8 or not np.isfinite(rates).all() or rates.max() <= 0:
            return
        half = float(np.median(rates[len(rates) // 2 :]) / rates.max())
        if half >= self.gone:
            return
        often = loop.count("rate_changes") > 0.5 * max(loop.count("steps") - 1, 1)
        tenth = next((k for k, r in enumerate(rates) if r < 0.1 * rates.max() and k >= int(rates.argmax())), len(rates))
        at = round(tenth / len(rates) * loop.count("steps"))
        per_epoch = loop.number("steps_per_epoch")
        epochs = f", {at / per_epoch:.1g} epochs" if math.isfinite(per_epoch) and per_epoch else ""
        yield Suspicion(
            "P9",
            EXACT if often else LIKELY,
            "learning stops early: the learning rate is gone",
            f"the rate fell to a tenth within {at} steps{epochs}"
            + (": scheduler.step() runs after every batch" if often else ""),
            "step the scheduler once an epoch" if often else "let the rate fall more slowly",
            {
                "first rate": loop.number("rate_first"),
                "last rate": loop.number("rate_last"),
                "median rate of the second half, of the highest": half,
                "threshold": self.gone,
                "changes of the rate": loop.count("rate_changes"),
                "steps": loop.count("steps"),
            },
            code="  for x, y in loader:\n      …\n      optimizer.step()\n-     scheduler.step()\n+ scheduler.step()",
            disproof="the same run with a constant rate stops at the same loss",
            shows=often,
        )
