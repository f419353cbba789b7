"""Why does training stall? Every check of `checks/` asked, the symptom judged, remedies ranked, and on request proved."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from convscope import __version__, registry
from convscope.diagnosing import proof, symptom, verdict
from convscope.diagnosing.changes import drawn
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.program import Program, left_alone
from convscope.diagnosing.suspicion import LIKELY, Change, Suspicion
from convscope.diagnosing.verdict import Ranked
from convscope.results import Finding, Findings, Origin, Run

Progress = Callable[[int, int, str], None]
CHAIN = 6  # remedies that are tried together
STEPS = 1500  # of a proof's run, if there is time


def diagnose(
    program: Program | None,
    run: Run | None = None,
    seconds: float = 4.0,
    seed: int = 0,
    prove: int = 0,
    progress: Progress | None = None,
) -> Findings:
    """Findings on a program, a watched run, or both. `prove`: over how many seeds the remedies are proved; 0: not at all."""
    evidence = Evidence(cast("Program", program), run, seconds, seed)
    begun = time.perf_counter()
    with left_alone(None if program is None else program.model):
        suspicions, rows = _asked(evidence, progress)
        seen = symptom.symptom(evidence)
        if program is not None:
            evidence.program = replace(evidence.program, gap=seen.kind == "gap")
        ranked = verdict.rank(suspicions, evidence, seen)
        told = verdict.findings(ranked, seen)
        curves: dict[str, NDArray[Any]] = {}
        if prove and program is not None:
            told, curves = _looped(evidence, ranked, told, prove, progress)
            if not any(f.confirmed for f in told):
                told, more = _proved(evidence.program, ranked, told, prove, max(seconds, 4.0), progress)
                curves |= more
    looked = f"{time.perf_counter() - begun:.1f} s"
    notes = [*([] if program is None else program.notes), *evidence.notes, _tried(evidence), f"looked for {looked}"]
    name = program.name if program is not None else "training record"
    origin = Origin(f"check(seconds={seconds:g})", name, "" if program is None else f"{len(program.examples)} "
    "examples", seed,
                    {"convscope": __version__})  # fmt: skip
    title = f"{name}: why does it not learn?" if any(f.severity == "error" for f in told) else name
    return Findings(origin=origin, title=title, findings=told, checked=rows, units={"seconds": "s"}, curves=curves,
                    notes=tuple(n for n in notes if n))  # fmt: skip


def _asked(evidence: Evidence, progress: Progress | None) -> tuple[list[Suspicion], dict[str, NDArray[Any]]]:
    """Every check that applies; what each took, and what it suspects."""
    names = registry.names("checks")
    if evidence.has_program and not _finite(evidence.program):
        evidence.program = drawn().apply(evidence.program.twin())
        evidence.notes.append("the weights hold NaN already: drawn anew on the copy; how they began was not checked")
    found: list[Suspicion] = []
    rows: dict[str, list[Any]] = {"check": [], "suspects": [], "seconds": []}
    for k, name in enumerate(names):
        if progress is not None:
            progress(k, len(names), name)
        check: Any = registry.load("checks", name)()
        if (check.needs == "program" and not evidence.has_program) or (check.needs == "run" and evidence.run is None):
            continue
        begun = time.perf_counter()
        try:
            said = list(cast("Iterable[Suspicion]", check(evidence)))
        except Exception as problem:  # noqa: BLE001 - one check that fails must not hide the others; it is told
            said = []
            evidence.notes.append(f"the check {name} failed: {type(problem).__name__}: {problem}")
        found += said
        rows["check"].append(name)
        rows["suspects"].append(" ".join(s.fault for s in said))
        rows["seconds"].append(round(time.perf_counter() - begun, 3))
    first = sorted(range(len(rows["check"])), key=lambda k: (not rows["suspects"][k], rows["check"][k]))
    return found, {name: np.array([values[k] for k in first]) for name, values in rows.items()} if first else {}


def _finite(program: Program) -> bool:
    return all(bool(torch.isfinite(p).all()) for p in program.model.parameters() if p.is_floating_point())


def _proved(program: Program, ranked: list[Ranked], told: tuple[Finding, ...], seeds: int, seconds: float,
            progress: Progress | None) -> tuple[tuple[Finding, ...], dict[str, NDArray[Any]]]:  # fmt: skip
    """The remedies of the alarms, one by one and then together, each beside the same control."""
    shown = {r.suspicion.fault: r.suspicion.shown for r in ranked if r.suspicion.shown}
    told = tuple(verdict.with_proof(f, shown[f.fault], True) if shown.get(f.fault) else f for f in told)
    grave = {f.fault for f in told if f.severity == "error"}
    tried = [r.suspicion for r in ranked if r.suspicion.fault in grave and r.suspicion.change is not None]
    likely = [r.suspicion for r in ranked if r.suspicion.change is not None and r.suspicion not in tried]
    tried += [s for s in likely if s.strength >= LIKELY and not s.harmless] or likely[: not tried]
    tried = [s for s in tried if _fits(program, s)][:CHAIN]
    if not tried:
        return told, {}
    controls = proof.control(program, seeds, STEPS, seconds, progress)
    steps = len(controls[0][0].losses) if not controls[0][0].problem and controls[0][0].broke is None else 300
    curves: dict[str, NDArray[Any]] = {}
    found = {f.fault: f for f in told}
    for names, change in _chains(tried):
        got = proof.prove(program, change, 1, steps, seconds, controls[:1], progress)  # one seed first: does it help at all?
        if got.effect >= proof.LEAST and got.remedied[0].learned:
            got = proof.prove(program, change, seeds, steps, seconds, controls, progress)
        key = "+".join(names)
        curves |= {f"{key} {which}": values for which, values in got.curves.items()}
        for name in names:
            if name in found and (got.confirmed or found[name].confirmed is None):
                found[name] = verdict.with_proof(found[name], got.words, got.confirmed)
        if got.confirmed and not got.poor:
            break
    return tuple(found.get(f.fault, f) if f.fault else f for f in told), curves


def _looped(evidence: Evidence, ranked: list[Ranked], told: tuple[Finding, ...], seeds: int,
            progress: Progress | None) -> tuple[tuple[Finding, ...], dict[str, NDArray[Any]]]:  # fmt: skip
    """A fault of the watched loop: the same program in a loop that clears, goes back and steps, beside what was watched."""
    first, run = ranked[0].suspicion if ranked else None, evidence.run
    if first is None or run is None or first.change is not None or first.fault not in verdict.LOOPS or not told:
        return told, {}
    if told[0].severity != "error":
        return told, {}
    rate, program = run.loop.get("rate_first"), evidence.program
    if isinstance(rate, float) and rate > 0:  # the loop's own schedule may have left nothing of it
        program = replace(program, optimizer=program.optimizer.with_(lr=rate))
    watched = np.asarray(run.steps.get("loss", ()), np.float64)
    watched = watched[np.isfinite(watched)]
    runs = proof.control(program, seeds, min(STEPS, max(len(run.steps.get("loss", ())), 200)), 4.0, progress)
    metric, mean = runs[0][1].metric, float(np.mean([score.value for _, score in runs]))
    words = (f"the same program in a loop that clears, goes back and steps: {metric} {mean:.3g} over {seeds} seeds, "
             f"{len(runs[0][0].losses)} steps each, from the weights as they were given")  # fmt: skip
    held = all(score.learned and trial.broke is None for trial, score in runs)
    curves = {f"{first.fault} remedy": proof.curves_of([trial for trial, _ in runs])}
    if len(watched):
        curves[f"{first.fault} control"] = watched[None]
    return tuple(verdict.with_proof(f, words, held) if f.fault == first.fault else f for f in told), curves


def _fits(program: Program, suspicion: Suspicion) -> bool:
    """Can this remedy be applied to this program at all?"""
    assert suspicion.change is not None
    try:
        suspicion.change.apply(program.twin())
    except Exception:  # noqa: BLE001 - told by the rank's note already
        return False
    return True


def _chains(tried: list[Suspicion]) -> list[tuple[tuple[str, ...], Change]]:
    """The first alone, the first two, three …; then the others alone."""
    found: list[tuple[tuple[str, ...], Change]] = []
    for n in range(1, len(tried) + 1):
        change = tried[0].change
        assert change is not None
        for other in tried[1:n]:
            assert other.change is not None
            change = change.then(other.change)
        found.append((tuple(s.fault for s in tried[:n]), change))
    found += [((s.fault,), s.change) for s in tried[1:] if s.change is not None]
    return found


def _tried(evidence: Evidence) -> str:
    if not evidence.has_program or "trial" not in vars(evidence):
        return ""
    trial = evidence.trial
    count = f"{len(trial.losses)} steps on {len(evidence.program.examples):,} examples"
    return f"tried for {count}, {trial.seconds:.1f} s, on a copy"
