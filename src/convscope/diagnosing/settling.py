"""Should I normalise? And the like, settled by measurement: the same network trained each way, a few hundred steps.

    normalise   x, x − mean, (x − mean)/std          with the condition number κ = λ_max/λ_min of the input's second moments:
                for a first layer under gradient descent the slowest direction needs about κ times as many steps (LeCun 1998)
    rate        η/100 … 100·η        batch   B/4 … 4·B        shuffle   in order, shuffled

Every copy begins with the same weights and takes the same number of steps; seeds change the order of examples and dropout.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from convscope import __version__
from convscope.diagnosing import changes
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.examples import Examples
from convscope.diagnosing.program import Program, left_alone
from convscope.diagnosing.proof import Progress, curves_of, interval
from convscope.diagnosing.score import Score
from convscope.diagnosing.suspicion import Change
from convscope.diagnosing.trial import Trial, train
from convscope.errors import unknown
from convscope.results import Finding, Findings, Origin

SAME = Change("as they are", lambda program: program)


def _normalise(program: Program) -> list[Change]:
    x = program.examples.x.float()
    mean = x.mean(0, keepdim=True) if x.ndim <= 2 else x.mean(dim=(0, *range(2, x.ndim)), keepdim=True)
    both = changes.standardised(program.examples)
    return [SAME, changes.inputs(lambda v: v.float() - mean, "centred"), Change("standardised", both.apply)]


def _rate(program: Program) -> list[Change]:
    rate = program.optimizer.rate
    return [Change(f"{rate * factor:.3g}", _faster(factor)) for factor in (0.01, 0.1, 1.0, 10.0, 100.0)]


def _faster(factor: float) -> Callable[[Program], Program]:
    return lambda program: replace(program, optimizer=program.optimizer.scaled(factor))


def _shuffle(program: Program) -> list[Change]:  # noqa: ARG001 - every question is asked of a program
    def order(shuffled: bool) -> Callable[[Program], Program]:
        return lambda p: replace(p, examples=replace(p.examples, shuffled=shuffled))

    return [Change("in order", order(False)), Change("shuffled", order(True))]


def _batch(program: Program) -> list[Change]:
    def of(size: int) -> Callable[[Program], Program]:
        return lambda p: replace(p, examples=replace(p.examples, batch=size))

    b = program.examples.batch
    sizes = sorted({max(2, b // 4), max(2, b // 2), b, min(2 * b, len(program.examples)), min(4 * b, len(program.examples))})
    return [Change(str(size), of(size)) for size in sizes]


QUESTIONS: dict[str, tuple[str, Callable[[Program], list[Change]]]] = {
    "normalise": ("inputs", _normalise), "rate": ("rate", _rate), "shuffle": ("order", _shuffle), "batch": ("batch", _batch),
}  # fmt: skip


def settle(
    program: Program, question: str, steps: int, seeds: int, seed: int = 0, progress: Progress | None = None
) -> Findings:
    """Train each way, over `seeds`; the finding says which was best. Errors: UnknownName."""
    if question not in QUESTIONS:
        raise unknown("question", question, QUESTIONS)
    column, ways = QUESTIONS[question]
    asked = ways(program)
    program = replace(program, epochs=None, rates=())
    runs: dict[str, list[tuple[Trial, Score]]] = {way.name: [] for way in asked}
    with left_alone(program.model):
        for k, way in enumerate(asked):
            for s in range(seeds):
                if progress is not None:
                    progress(k * seeds + s, len(asked) * seeds, f"{column} {way.name}, seed {seed + s}")
                changed = way.apply(program.twin())
                seen = Evidence(changed, seed=seed + s)
                runs[way.name].append(
                    (trial := train(changed, seed + s, steps, math.inf), seen.judge(trial.program or changed))
                )
    scores = {name: np.array([_worth(t, s) for t, s in found]) for name, found in runs.items()}
    best = max(scores, key=lambda name: float(scores[name].mean()))
    base = {"normalise": SAME.name, "rate": f"{program.optimizer.rate:.3g}", "batch": str(program.examples.batch),
            "shuffle": "shuffled" if program.examples.shuffled else "in order"}[question]  # fmt: skip
    gain, half = interval(scores[best] - scores[base])
    clear = best != base and gain - half > 0
    metric = runs[best][0][1].metric
    facts: dict[str, float | str] = {
        f"{metric}, {name}": float(np.mean([s.value for _, s in found])) for name, found in runs.items()
    }
    if question == "normalise":
        facts |= {f"condition number, {way.name}": condition(way.apply(program.twin()).examples) for way in asked}
    answer = f"yes: {column} {best} is better than {base}" if clear else f"no clear difference between {base} and {best}" \
        if best != base else f"{base} is the best of what was tried"  # fmt: skip
    finding = Finding("advice" if clear else "fine", answer, evidence=facts,
                      proof=f"gain {gain:+.3g} of the way from a constant answer to the best, 95 % interval "
                      f"{gain - half:+.3g} … {gain + half:+.3g}, {seeds} seeds, {steps} steps each",
                      disproof="a longer training that ends the other way round", confirmed=clear or None)  # fmt: skip
    rows: dict[str, Any] = {
        column: np.array([way.name for way in asked]), metric: np.array([facts[f"{metric}, {way.name}"] for way in asked]),
        "first loss": np.array([np.mean([t.first for t, _ in runs[way.name]]) for way in asked]),
        "last loss": np.array([np.mean([t.last for t, _ in runs[way.name]]) for way in asked]),
        "broke": np.array([sum(t.broke is not None for t, _ in runs[way.name]) for way in asked]),
    }  # fmt: skip
    curves = {
        f"{question} {'control' if name == base else 'remedy'}": curves_of([t for t, _ in runs[name]])
        for name in {base, best}
    }
    origin = Origin(f"settle({question!r}, steps={steps}, seeds={seeds})", program.name, f"{len(program.examples)} examples",
                    seed, {"convscope": __version__})  # fmt: skip
    return Findings(origin=origin, title=f"{program.name}: {question}?", findings=(finding,), checked=rows, curves=curves,
                    units={"broke": "runs whose loss was not finite"}, notes=program.notes)  # fmt: skip


def condition(examples: Examples) -> float:
    """κ of the second-moment matrix of the inputs (a bias counts as an input of ones), over what is not constant."""
    x = examples.x[:2048].double().reshape(min(len(examples), 2048), -1)
    x = x[:, x.std(0) > 0][:, :512]
    if not x.shape[1]:
        return math.inf
    one: Tensor = torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], 1)
    values = torch.linalg.eigvalsh(one.T @ one / len(one))
    return float(values[-1] / values[values > 1e-12 * values[-1]][0])


def _worth(trial: Trial, found: Score) -> float:
    if trial.broke is not None:
        return -1.0
    if found.metric == "loss" and not math.isfinite(found.share):
        return float(np.clip((trial.first - trial.last) / (abs(trial.first) + 1e-12), -1, 1))
    return float(np.clip(found.share, -1, 1))
