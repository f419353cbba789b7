"""Does the remedy hold? A copy with it and an untouched control: same begin, same order of examples, same number of steps.

    effect = mean over seeds of share(remedy) − share(control)          share: of the way from a constant answer to the best
    interval = effect ± t · s/√seeds                                    95 %, Student's t
    confirmed: the interval lies above 0, the effect is at least 0.02, and the remedied copy learns with every seed

Weights begin as the user's own in every run; seeds change the order of the examples and the dropout. Several faults can hide
one another: where the first remedy alone does not help, it is tried together with the next ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.program import Program, left_alone
from convscope.diagnosing.score import Score
from convscope.diagnosing.suspicion import Change
from convscope.diagnosing.trial import Trial, train

_T = {1: 12.71, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571}  # Student's t, 95 % two-sided, by degrees of freedom
LEAST = 0.02  # effect, in shares of the way from a constant answer to the best
Progress = Callable[[int, int, str], None]
Runs = list[tuple[Trial, Score]]


@dataclass(frozen=True, eq=False)
class Proof:
    """What came of a controlled trial."""

    change: str
    confirmed: bool
    effect: float
    low: float
    high: float
    steps: int
    control: tuple[Score, ...] = ()
    remedied: tuple[Score, ...] = ()
    curves: dict[str, NDArray[np.float64]] = field(
        default_factory=dict[str, "NDArray[np.float64]"]
    )  # control, remedy: (seeds, steps)

    @property
    def poor(self) -> bool:
        """Does it still learn little, with the remedy?"""
        return any(s.poor for s in self.remedied)

    @property
    def words(self) -> str:
        """In one sentence."""
        metric = self.remedied[0].metric if self.remedied else "score"
        before, after = (
            np.mean([s.value for s in scores]) if scores else math.nan for scores in (self.control, self.remedied)
        )
        worth = "no interval" if not math.isfinite(self.low) else f"95 % interval {self.low:+.2f} … {self.high:+.2f}"
        seeds = f"{len(self.remedied)} seed{'s' * (len(self.remedied) > 1)}"
        return (f"{self.change}: {metric} {before:.3g} → {after:.3g} over {seeds}, {self.steps} steps each "
                f"(effect {self.effect:+.2f} of the way to the best, {worth})")  # fmt: skip


def prove(
    program: Program,
    change: Change,
    seeds: int = 3,
    steps: int = 300,
    seconds: float = 5.0,
    controls: Sequence[tuple[Trial, Score]] = (),
    progress: Progress | None = None,
) -> Proof:
    """Train the changed copy beside the control. `controls`: runs of the control that are there already, one a seed."""
    kept = list(controls) or control(program, seeds, steps, seconds, progress)
    steps = min([steps, *(len(t.losses) for t, _ in kept if t.broke is None and not t.problem and len(t.losses))])
    remedied: list[tuple[Trial, Score]] = []
    for seed in range(seeds):
        if progress is not None:
            progress(seed, seeds, f"{change.name}, seed {seed}")
        remedied.append(_run(program, change, seed, steps, 4 * seconds))
    kept = kept[: len(remedied)]
    if all(s.metric == "loss" for _, s in (*kept, *remedied)):
        kept, remedied = _beside(kept, remedied)
    a, b = (np.array([_share(s) for _, s in runs]) for runs in (kept, remedied))
    effect, half = interval(b - a)
    sound = all(s.learned and t.broke is None and not t.problem for t, s in remedied)
    curves = {"control": curves_of([t for t, _ in kept]), "remedy": curves_of([t for t, _ in remedied])}
    confirmed = bool(sound and effect >= LEAST and effect - half > 0)
    return Proof(change.name, confirmed, effect, effect - half, effect + half, steps,
                 tuple(s for _, s in kept), tuple(s for _, s in remedied), curves)  # fmt: skip


def control(
    program: Program, seeds: int, steps: int, seconds: float, progress: Progress | None = None
) -> list[tuple[Trial, Score]]:
    """The untouched program, one run a seed; all take as many steps as the first could in its time."""
    found: list[tuple[Trial, Score]] = []
    for seed in range(seeds):
        if progress is not None:
            progress(seed, seeds, f"control, seed {seed}")
        found.append(_run(program, None, seed, steps, seconds if seed == 0 else 4 * seconds))
        if seed == 0 and found[0][0].broke is None and not found[0][0].problem:
            steps = len(found[0][0].losses)
    return found


def _run(program: Program, change: Change | None, seed: int, steps: int, seconds: float) -> tuple[Trial, Score]:
    with left_alone():
        twin = program.twin()
        changed = twin if change is None else change.apply(twin)
        seen = Evidence(changed, seconds=2.0, seed=seed)
        trial = train(changed, seed, steps, seconds)
        found = judged(seen, changed)
        if found.metric == "loss":  # only the loss can be looked at: how far did it fall, against the whole way?
            found = Score("loss", trial.last, seen.loss.constant, _fallen(trial, seen), found.examples)
    return trial, found


def judged(seen: Evidence, program: Program) -> Score:
    """The score on what it was trained on, or on held-out examples where the symptom is a gap."""
    if program.gap and program.held_out is not None:
        program = replace(program, examples=replace(program.held_out, epochs=()))
    return seen.judge(program)


def _fallen(trial: Trial, seen: Evidence) -> float:
    """(first − last)/(|first| + |last|), or the share of the way to the floor where that is known."""
    way = seen.loss.constant - seen.loss.floor
    if math.isfinite(way) and way > 1e-12:
        return (seen.loss.constant - trial.last) / way
    return (trial.first - trial.last) / (abs(trial.first) + abs(trial.last) + 1e-12)


def _beside(kept: Runs, remedied: Runs) -> tuple[Runs, Runs]:
    """Where only a loss can be looked at: shares of the way from the control's first loss to the lowest of all runs."""
    first = float(np.mean([t.first for t, _ in kept]))
    low = min((t.last for t, _ in (*kept, *remedied) if math.isfinite(t.last)), default=first)

    def scored(runs: Runs) -> Runs:
        return [(t, replace(s, share=(first - t.last) / max(first - low, 1e-12))) for t, s in runs]

    return scored(kept), scored(remedied)


def _share(found: Score) -> float:
    """Between −1 and 1: a run that broke is as bad as a constant answer or worse."""
    return float(np.clip(found.share, -1.0, 1.0)) if math.isfinite(found.share) else 0.0


def interval(gain: NDArray[np.float64]) -> tuple[float, float]:
    """(mean, half width of its 95 % interval) over seeds; infinite for one seed."""
    if len(gain) < 2:
        return float(gain.mean()), math.inf
    return float(gain.mean()), _T.get(len(gain) - 1, 2.0) * float(gain.std(ddof=1)) / math.sqrt(len(gain))


def curves_of(trials: list[Trial]) -> NDArray[np.float64]:
    """(seeds, steps) losses; NaN behind the end of a run that broke."""
    longest = max((len(t.losses) for t in trials), default=0)
    return np.stack([np.pad(t.losses, (0, longest - len(t.losses)), constant_values=np.nan) for t in trials])
