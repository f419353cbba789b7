"""Learned by heart: nearly perfect on what it was trained on, little better than a constant answer on what it was not."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

from convscope.diagnosing.changes import optimizing
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.suspicion import HINT, LIKELY, Suspicion
from convscope.fields import param, validate


@dataclass(frozen=True)
class Overfitting:
    """Does what the network learned hold for held-out examples?

    gap = share(train) − share(held out) after the trial, in shares of the way from a constant answer to the best. It is only
    likely, never sure: held-out examples prepared in another way, or of other classes, look the same. Misleads where the
    held-out set is small. Errors: none. Source: Zhang et al. 2017, "Understanding deep learning requires rethinking".

    >>> import torch
    >>> from convscope.diagnosing import given
    >>> net = torch.nn.Linear(4, 2)
    >>> data = (torch.randn(16, 4), torch.arange(16) % 2)
    >>> list(Overfitting()(Evidence(given.program(net, data, "cross-entropy"), seconds=0.5)))
    []
    """

    needs: ClassVar[str] = "program"
    gap: float = param(0.4, "how far training may be above held-out, in shares of the way", low=0, high=1)
    least: int = param(20, "held-out examples that must be there", low=1)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, evidence: Evidence) -> Iterator[Suspicion]:
        program, trial = evidence.program, evidence.trial
        held_out = program.held_out
        if held_out is None or trial.program is None or len(held_out) < self.least or evidence.after.metric == "loss":
            return
        held = evidence.judge(replace(trial.program, examples=replace(held_out, epochs=())))
        train, there = evidence.after.share, held.share
        if not (math.isfinite(train) and math.isfinite(there)) or train < 0.5 or train - there < self.gap:
            return
        count = sum(p.numel() for p in program.model.parameters())
        yield Suspicion(
            "E3", LIKELY if there < 0.2 else HINT,
            f"{held.metric} {evidence.after.value:.3g} in training, {held.value:.3g} on held-out examples",
            f"the network has learned its {program.examples.total or len(program.examples):,} examples by heart: {count:,} "
            "parameters can hold them without finding what they have in common",
            "more data or augmentation, a smaller network, weight decay or dropout, or stop earlier",
            {f"{held.metric}, training": evidence.after.value, f"{held.metric}, held out": held.value,
             "gap": train - there, "threshold": self.gap, "parameters": count},
            code="- optim.Adam(model.parameters(), lr=…)\n+ optim.AdamW(model.parameters(), lr=…, weight_decay=0.1)",
            disproof="held-out examples that were prepared in another way, or have other classes",
            change=optimizing("weight decay 0.01", weight_decay=0.01),
        )  # fmt: skip
