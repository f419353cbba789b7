"""A short training that is otherwise changed, compared with the trial batch by batch: the same seed, the same ones."""

from __future__ import annotations

import math
import warnings

import numpy as np
import torch
from torch import Tensor

from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.program import left_alone
from convscope.diagnosing.suspicion import Change
from convscope.diagnosing.trial import Trial, output_of, train

SECONDS = 0.3  # for one of them
ERRORS = 2.0  # standard errors from which a difference is no chance


def tried(evidence: Evidence, change: Change) -> Trial | None:
    """The changed twin, for at most as many steps as the trial had; None where time is out or it raises."""
    if evidence.left < 0.1 or not len(evidence.trial.losses):
        return None
    seconds = min(SECONDS, evidence.left / 4)
    with left_alone():
        changed = change.apply(evidence.program.twin())
    done = train(changed, evidence.seed, len(evidence.trial.losses), seconds)
    return None if done.problem or len(done.losses) < 4 else done


def won(evidence: Evidence, other: Trial) -> float:
    """How far the other's loss lies under the trial's on the same batches, as a share of the whole way to the floor.

    The mean over the second half of the steps that both took; 0 where it is within chance. A training that broke has won
    nothing.
    """
    trial = evidence.trial
    if other.broke is not None:
        return 0.0
    n = min(len(other.losses), len(trial.losses))
    if trial.broke is not None:
        return float(np.clip((other.losses[0] - other.last) / way(evidence), 0.0, 1.0))
    gap = (trial.losses[:n] - other.losses[:n])[n // 2 :]
    error = float(gap.std()) / math.sqrt(len(gap))
    mean = float(gap.mean())
    return min(1.0, mean / way(evidence)) if mean > ERRORS * error else 0.0


def way(evidence: Evidence) -> float:
    """From the first loss (the constant answer's, where that is higher) to the floor."""
    losses = evidence.trial.losses
    floor = evidence.loss.floor if math.isfinite(evidence.loss.floor) else min(0.0, float(np.nanmin(losses)))
    begin = max(float(losses[0]), evidence.loss.constant if math.isfinite(evidence.loss.constant) else -math.inf)
    return max(begin - floor, 1e-12)


def progress(evidence: Evidence, trial: Trial) -> float:
    """The share of the way from the constant answer's loss (or the first, if unknown) to the floor; 0 if it broke."""
    if trial.broke is not None or not len(trial.losses):
        return 0.0
    floor = evidence.loss.floor if math.isfinite(evidence.loss.floor) else min(0.0, float(np.nanmin(trial.losses)))
    begin = evidence.loss.constant if math.isfinite(evidence.loss.constant) else float(trial.losses[0])
    return float(np.clip((begin - trial.last) / (begin - floor), 0.0, 1.0)) if begin > floor else 0.0


def first_step(evidence: Evidence) -> float:
    """The batch's loss after the optimiser's first update, over that before; infinite if not finite, NaN if unknown."""
    program = evidence.program.twin()
    with left_alone(), warnings.catch_warnings(), torch.enable_grad():
        warnings.simplefilter("ignore")
        program.model.train()
        optimizer = program.optimizer.make(program.model)
        if optimizer is None:
            return math.nan
        found: list[float] = []
        try:
            for turn in range(2):
                torch.manual_seed(evidence.seed)  # the same dropout both times
                loss = program.value(output_of(program, evidence.x), evidence.y)
                if not isinstance(loss, Tensor):
                    return math.nan
                found.append(float(loss.detach()))
                if turn == 0:
                    program.model.zero_grad(set_to_none=True)
                    loss.backward()
                    optimizer.step()
        except Exception:  # noqa: BLE001 - what the user's program raises is told elsewhere
            return math.nan
    if not math.isfinite(found[0]) or found[0] <= 0:
        return math.nan
    return found[1] / found[0] if math.isfinite(found[1]) else math.inf


def silent(evidence: Evidence) -> bool:
    """Is it the gradient that is too small, and not the rate?"""
    norms = [g for g in evidence.gradients.values() if g is not None]
    return not norms or max(norms) < 1e-6


def wild(evidence: Evidence) -> bool:
    """Inputs or targets so large that every rate is too high: then these come first."""
    x = evidence.x.float()
    x = x[torch.isfinite(x)]
    large = x.numel() > 1 and evidence.x.is_floating_point() and float(x.square().mean().sqrt()) > 10
    t = evidence.targets
    return large or (t.kind == "values" and max(abs(t.mean), t.std) > 10)
