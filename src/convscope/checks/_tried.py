"""A short training at another rate, or otherwise changed, compared with the trial at the same number of steps."""

from __future__ import annotations

import math

import numpy as np

from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.suspicion import Change
from convscope.diagnosing.trial import Trial, train

SECONDS = 0.3  # for one of them


def tried(evidence: Evidence, change: Change) -> Trial | None:
    """The changed twin, for at most as many steps as the trial had; None where time is out or it raises."""
    if evidence.left < 0.1 or not len(evidence.trial.losses):
        return None
    done = train(
        change.apply(evidence.program.twin()), evidence.seed, len(evidence.trial.losses), min(SECONDS, evidence.left / 4)
    )
    return None if done.problem or len(done.losses) < 2 else done


def gained(evidence: Evidence, other: Trial) -> float:
    """How much further down the other came in as many steps, as a share of the way from the start (or constant) to the floor.

    A training that broke has gone no way at all.
    """
    n = min(len(other.losses), len(evidence.trial.losses))
    return progress(evidence, other, n) - progress(evidence, evidence.trial, n)


def progress(evidence: Evidence, trial: Trial, steps: int | None = None) -> float:
    """The share of the way from the constant answer's loss (from the first loss, where that is unknown or lower) to the floor."""
    losses = trial.losses[: steps or len(trial.losses)]
    if trial.broke is not None and trial.broke < (steps or len(trial.losses) + 1):
        return 0.0
    floor = evidence.loss.floor if math.isfinite(evidence.loss.floor) else min(0.0, float(np.nanmin(losses)))
    begin = evidence.loss.constant if math.isfinite(evidence.loss.constant) else float(losses[0])
    now = float(np.mean(losses[-max(1, len(losses) // 5) :]))
    return float(np.clip((begin - now) / (begin - floor), 0.0, 1.0)) if begin > floor else 0.0
