"""Is there a symptom at all? An alarm needs one: an error, a loss that is not finite or does not move, a score no better
than a constant answer's, a gap. A run that does well is left in peace, whatever its settings look like.

    learned:  accuracy above the most frequent class's share by two standard errors and a tenth of the way; R² above 0.1
    poor:     accuracy below max(majority + 0.1, 0.6), R² below 0.3 (as studies of real faulty programs count it)
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.score import Score
from convscope.results import Run

ENOUGH = 150  # steps after which a network that learns shows it
PASSES = 5.0  # or so many passes over what was looked at, in at least 60 steps


@dataclass(frozen=True)
class Symptom:
    """What is wrong to see, in the user's words. `kind` '' where nothing is; 'unsure' where too little could be tried."""

    kind: str
    words: str
    evidence: dict[str, float | str] = field(default_factory=dict[str, "float | str"])

    @property
    def alarm(self) -> bool:
        return self.kind not in ("", "unsure")


def symptom(evidence: Evidence) -> Symptom:
    """Of the watched run where there is one, else of the trial."""
    seen = of_run(evidence.run) if evidence.run is not None else None
    if not evidence.has_program:
        return seen or Symptom("unsure", "too few losses were seen to tell")
    if seen is not None and seen.alarm:
        return seen
    found = of_program(evidence)
    if seen is not None and seen.kind == "flat" and not found.alarm and evidence.objective:
        return replace(seen, kind="unsure")  # an opponent that trains too keeps such a loss where it is
    if seen is not None and seen.alarm:
        return seen
    return seen if seen is not None and seen.kind == "" and found.kind in ("unsure", "flat") else found


def of_program(evidence: Evidence) -> Symptom:
    """Of a program that was tried."""
    if evidence.first[2]:
        return Symptom("raised", f"the network raises an error: {evidence.first[2]}")
    if evidence.tensor is not None and evidence.loss.problem:
        return Symptom("raised", f"the loss raises an error: {evidence.loss.problem}")
    trial = evidence.trial
    n = len(trial.losses)
    if trial.problem:
        return Symptom("raised", f"training raises an error after {n} steps: {trial.problem}")
    if trial.broke is not None or not math.isfinite(evidence.start):
        at = trial.broke or 0
        words = "the loss is not finite from the first step" if at == 0 else f"the loss is not finite after {at} steps"
        return Symptom("nan", words, {"first loss": evidence.start})
    after = evidence.after
    facts = _facts(evidence)
    enough = trial.finished or n >= ENOUGH or (trial.epochs >= PASSES and n >= 60)
    if n >= 2 and trial.moved == 0:
        return Symptom("constant", "the weights never move", facts)
    whole = evidence.program.examples.batch >= len(evidence.program.examples)
    if n >= 5 and float(np.ptp(trial.losses)) <= 1e-6 * abs(trial.first) and not after.learned and whole:
        return Symptom("constant", f"the loss stays at {trial.first:.4g}", facts)
    if after.metric == "loss" and (evidence.objective or not math.isfinite(after.share)):
        return _by_loss(evidence, enough, facts)
    if after.learned and not (trial.finished and after.poor):
        return _gap(evidence, after, facts)
    if n >= 10 and trial.last > 3 * abs(trial.first) + 1e-9 and trial.last > after.constant:
        return Symptom("diverged", f"the loss grows: {trial.first:.4g} at the begin, {trial.last:.4g} at the end", facts)
    trained = evidence.judge(trial.program, training=True) if trial.program is not None else after
    if trained.learned and not trained.poor:
        return Symptom("mode", f"in training mode {_said(trained)}, in evaluation mode {_said(after)}", facts)
    if after.learned:
        return Symptom("poor", f"it learns little: {_said(after)} after {n} steps", facts)
    if enough:
        return Symptom("flat", f"it does not learn: {_said(after)} after {n} steps", facts)
    tiny = evidence.tiny
    if math.isfinite(tiny.score.share) and tiny.score.share < 0.5 and tiny.steps >= 80:
        words = f"it cannot learn {tiny.score.examples} examples by heart: {_said(tiny.score)} after {tiny.steps} steps"
        return Symptom("flat", words, facts)
    return Symptom("unsure", f"{n} steps were too few to tell: {_said(after)}", facts)


def _by_loss(evidence: Evidence, enough: bool, facts: dict[str, float | str]) -> Symptom:
    """Where only the loss can be looked at: does it fall by more than it jitters?"""
    losses = evidence.trial.losses
    n = len(losses)
    noise = float(np.std(np.diff(losses)) / math.sqrt(2)) if n > 2 else 0.0
    fall = evidence.trial.first - evidence.trial.last
    if n >= 10 and -fall > 3 * abs(evidence.trial.first) + 3 * noise:
        return Symptom("diverged", f"the loss grows from {evidence.trial.first:.4g} to {evidence.trial.last:.4g}", facts)
    if fall > max(2 * noise / math.sqrt(max(n // 10, 1)), 0.02 * abs(evidence.trial.first)):
        floor, half = evidence.loss.floor, evidence.trial.losses[n // 2 :]
        late = float(half[: len(half) // 2].mean() - half[len(half) // 2 :].mean()) if len(half) >= 8 else math.nan
        still = late < 0.02 * fall + 2 * noise / math.sqrt(max(n // 4, 1))
        if enough and still and math.isfinite(floor) and fall < 0.5 * (evidence.trial.first - floor):
            words = f"the loss stops at {evidence.trial.last:.4g}; free outputs would reach {floor:.4g}"
            return Symptom("flat", words, facts | {"loss that free outputs reach": floor})
        return Symptom("", f"the loss falls from {evidence.trial.first:.4g} to {evidence.trial.last:.4g}", facts)
    if enough:
        return Symptom("flat", f"the loss stays near {evidence.trial.last:.4g} for {n} steps", facts)
    return Symptom("unsure", f"{n} steps were too few to tell", facts)


def _gap(evidence: Evidence, after: Score, facts: dict[str, float | str]) -> Symptom:
    """It learns. Does that hold for held-out examples, prepared as they are?"""
    program, trial = evidence.program, evidence.trial
    if program.held_out is None or trial.program is None:
        return Symptom("", f"it learns: {_said(after)} after {len(trial.losses)} steps", facts)
    held = evidence.judge(replace(trial.program, examples=replace(program.held_out, epochs=())))
    facts = {**facts, f"held-out {held.metric}": held.value}
    error = math.sqrt(max(held.value * (1 - held.value), 0.05) / held.examples) if held.metric == "accuracy" else 0.1
    worse = after.value - held.value > 3 * error + 0.1 * (1 - after.constant)
    if after.share > 0.5 and held.share < 0.2 and worse and held.examples >= 20:
        return Symptom("gap", f"{_said(after)} on training examples, {held.value:.3g} on held-out ones", facts)
    return Symptom("", f"it learns: {_said(after)} after {len(trial.losses)} steps, held out {held.value:.3g}", facts)


def of_run(run: Run | None) -> Symptom | None:
    """Of a training record, from its losses and scores alone; None where there is too little to say anything."""
    if run is None:
        return None
    losses = np.asarray(run.steps.get("loss", run.epochs.get("loss", ())), np.float64)
    seen = losses[~np.isnan(losses)]
    facts: dict[str, float | str] = {}
    bad = run.loop.get("loss_nonfinite_step")
    watched = "loss_nonfinite_step" in run.loop  # then NaN stands for steps that were not looked at
    if bad is not None and bad == bad and bad >= 0:
        return Symptom("nan", f"the loss is not finite at step {int(bad)}")
    if not watched and len(losses) and not np.isfinite(losses[-1]):
        return Symptom("nan", "the loss is not finite at the end")
    if len(seen) < 4:
        return None
    tenth = max(1, len(seen) // 10)
    first, last = float(seen[:tenth].mean()), float(seen[-tenth:].mean())
    facts |= {"loss at the begin": first, "loss at the end": last}
    accuracy = np.asarray(run.epochs.get("accuracy", ()), np.float64)
    held = np.asarray(run.epochs.get("held_out_accuracy", ()), np.float64)
    if len(accuracy) and len(held) and np.isfinite(held[-1]) and accuracy[-1] > 0.8 and held[-1] < 0.5 * accuracy[-1]:
        return Symptom("gap", f"accuracy {accuracy[-1]:.3g} in training, {held[-1]:.3g} held out", facts)
    noise = float(np.std(np.diff(seen)) / math.sqrt(2)) if len(seen) > 2 else 0.0
    if last > 2 * abs(first) + 3 * noise:
        return Symptom("diverged", f"the loss grows from {first:.4g} to {last:.4g}", facts)
    if first - last > max(2 * noise / math.sqrt(tenth), 0.05 * abs(first)):
        return Symptom("", f"the loss falls from {first:.4g} to {last:.4g}", facts)
    return Symptom("flat", f"the loss stays near {last:.4g}: {first:.4g} at the begin", facts)


def _facts(evidence: Evidence) -> dict[str, float | str]:
    trial, after = evidence.trial, evidence.after
    return {"steps tried": len(trial.losses), "first loss": trial.first, "last loss": trial.last,
            f"{after.metric} after": after.value, f"{after.metric} of a constant answer": after.constant}  # fmt: skip


def _said(found: Score) -> str:
    if found.metric == "accuracy":
        return f"accuracy {found.value:.3g} (the most frequent class has {found.constant:.3g})"
    if found.metric == "R²":
        return f"R² {found.value:.3g} (the mean has 0)"
    return f"loss {found.value:.4g} (the best constant answer has {found.constant:.4g})"
