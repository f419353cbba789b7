"""P11, too few updates.

    steps = epochs · ⌈N / batch⌉        still falling: the last quarter of the loss curve lies well under the one before

Hoffer et al. 2017, "Train longer, generalize better": it is the number of updates that counts, not that of the epochs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

from convscope.checks._tried import progress
from convscope.diagnosing.changes import rewritten
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.suspicion import HINT, LIKELY, STRONG, Suspicion
from convscope.diagnosing.trial import train
from convscope.fields import param, validate


@dataclass(frozen=True)
class Updates:
    """Does training end while the loss still falls?

    Measured: updates (epochs · batches), the fall of the loss over the last quarter of them relative to its whole fall, and
    the way to the floor that `more` times the epochs win; shares without unit. Needs the number of epochs, and a trial that
    got as far as the user's training does. A curve that falls for ever (a log-likelihood without floor) misleads.
    Errors: none. Source: Hoffer et al. 2017, "Train longer, generalize better".

    >>> import torch
    >>> from convscope.diagnosing import given
    >>> x = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
    >>> _ = torch.manual_seed(0)
    >>> short = given.program(torch.nn.Linear(4, 1), (x, x[:, :1] * 2), "mse", "sgd:0.02", epochs=4, batch_size=32)
    >>> [s.fault for s in Updates()(Evidence(short))]
    ['P11']
    """

    needs: ClassVar[str] = "program"
    few: int = param(300, "updates under which there may be too few", unit="steps", low=1)
    falling: float = param(0.05, "fall over the last quarter, relative to the whole fall, from which it still falls", low=0)
    more: int = param(10, "how many times longer it is tried", low=2)
    gain: float = param(0.2, "share of the way to the floor that this must win", low=0, high=1)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, evidence: Evidence) -> Iterator[Suspicion]:
        program, trial = evidence.program, evidence.trial
        n = len(trial.losses)
        if program.epochs is None or not trial.finished or trial.problem or trial.broke is not None or not 0 < n <= self.few:
            return
        share = evidence.after.share
        if math.isfinite(share) and share > 0.9:
            return
        quarter = max(1, n // 4)
        whole = float(trial.losses[:quarter].mean() - trial.losses[-quarter:].mean())
        late = float(trial.losses[-2 * quarter : -quarter].mean() - trial.losses[-quarter:].mean()) if n >= 4 else math.nan
        still = n < 4 or (whole > 0 and late / whole > self.falling)
        longer = rewritten(
            lambda p: replace(p, epochs=None if p.epochs is None else p.epochs * self.more, rates=()),
            f"{self.more} times the epochs",
        )
        if evidence.left < 0.1:
            return
        done = train(longer.apply(program.twin()), evidence.seed, n * self.more, min(0.4, evidence.left / 3))
        won = progress(evidence, done) - progress(evidence, trial) if len(done.losses) and not done.problem else 0.0
        if won <= self.gain and not (still and n < 20):
            return
        yield Suspicion(
            "P11",
            STRONG if won > self.gain and still else LIKELY if won > self.gain else HINT,
            "training ends before anything is learned",
            f"{program.epochs} epochs of {-(-n // max(1, program.epochs))} batches are {n} updates, and it still falls",
            f"train {self.more} times longer, or with smaller batches",
            {
                "updates": float(n),
                "threshold (updates)": float(self.few),
                "fall over the last quarter": late / whole if whole > 0 else math.nan,
                "threshold (fall)": self.falling,
                "way to the floor won by training on": won,
            },
            "epochs",
            f"- epochs={program.epochs}\n+ epochs={program.epochs * self.more}",
            "the loss is flat at the end, or a longer training ends no lower",
            longer,
        )
