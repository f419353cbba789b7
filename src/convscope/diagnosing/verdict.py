"""From suspicions to findings: which of them is an alarm, and which comes first?

    alarm    a suspicion that is likely, where there is a symptom; or one whose evidence is a symptom by itself
    advice   everything else
    rank     strength + relief/2 (from 0.3 on it counts as 1), the cause upstream first where they are equal (`faults.ORDER`)

Relief is what a short run of the remedy gains over the trial of the program as it is, in shares of the way from a constant
answer to the best: a remedy that mends is evidence that none of the other signs has.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.faults import fault
from convscope.diagnosing.program import left_alone
from convscope.diagnosing.proof import judged
from convscope.diagnosing.score import Score
from convscope.diagnosing.suspicion import EXACT, HINT, LIKELY, Suspicion
from convscope.diagnosing.symptom import Symptom
from convscope.diagnosing.trial import train
from convscope.results import Finding

TRIED = 5  # remedies that are tried for a moment
LOOPS = ("P3", "P4", "P5", "P6", "P7", "P9", "P12", "P13", "E1", "E4")  # seen directly in a watched loop
DOWNSTREAM = ("A2", "A3")  # what inputs, rate and initial weights do to layers
TOLD = 0.2  # weight from which on something is worth a word
MENDS = 0.5  # relief of the first, from which on nothing else is needed
EFFECTS = ("P2", "P1", "A2", "A3", "A4", "A8")  # what other faults leave behind: alone, their remedy must help
PLAIN = 0.3  # relief from which on more of it says no more: of two that both help, the one upstream is the cause
HELPS = 0.2  # relief from which on a remedy speaks for its cause


@dataclass(frozen=True)
class Ranked:
    """A suspicion with what a moment's trial of its remedy gave."""

    suspicion: Suspicion
    relief: float = math.nan  # NaN: not tried

    @property
    def weight(self) -> float:
        relief = self.relief if math.isfinite(self.relief) else 0.0
        s = self.suspicion
        base = min(s.strength, HINT) if s.harmless and relief < HELPS else s.strength
        if s.fault in DOWNSTREAM and relief < HELPS:
            base = min(base, LIKELY)  # more often an effect than a cause: its own remedy must help
        if s.strength >= EXACT and s.change is None and s.fault in LOOPS:
            relief = 1.0  # seen directly, in the user's own loop: nothing that could be tried says it better
        return base + 0.5 * (1.0 if relief >= PLAIN else max(relief, 0.0))


def rank(found: Sequence[Suspicion], evidence: Evidence, symptom: Symptom) -> list[Ranked]:
    """The gravest first. Where there is a symptom and time is left, the likeliest remedies are tried for a moment."""
    best: dict[str, Suspicion] = {}
    for suspicion in sorted(found, key=lambda s: -s.strength):
        best.setdefault(suspicion.fault, suspicion)
    ordered = sorted(best.values(), key=_key)
    if not evidence.has_program or not symptom.alarm or symptom.kind == "raised":
        return sorted((Ranked(s) for s in ordered), key=lambda r: (-r.weight, fault(r.suspicion.fault).order))
    ranked = []
    tries = [s for s in ordered if s.change is not None][:TRIED]
    for k, suspicion in enumerate(ordered):
        relief = math.nan
        if suspicion in tries and evidence.left > 0.1:
            waiting = sum(s in tries for s in ordered[k:])
            relief = _relief(suspicion, evidence, evidence.left / waiting)
        ranked.append(Ranked(suspicion, relief))
    return sorted(ranked, key=lambda r: (-round(r.weight, 1), fault(r.suspicion.fault).order))


def _key(suspicion: Suspicion) -> tuple[float, int]:
    return -(min(suspicion.strength, HINT) if suspicion.harmless else suspicion.strength), fault(suspicion.fault).order


def _relief(suspicion: Suspicion, evidence: Evidence, seconds: float) -> float:
    """How much further than the trial does the program get with this remedy, in as many steps? −1 … 1."""
    assert suspicion.change is not None
    begun = time.perf_counter()
    steps = max(len(evidence.trial.losses), 20)
    with left_alone():
        try:
            changed = suspicion.change.apply(evidence.program.twin())
        except Exception as problem:  # noqa: BLE001 - a remedy that does not fit this program is told, not hidden
            evidence.notes.append(f"the remedy of {suspicion.fault} could not be tried: {type(problem).__name__}: {problem}")
            return math.nan
        tried = train(changed, evidence.seed, steps, max(0.1, 0.8 * (seconds - (time.perf_counter() - begun))))
        got = judged(Evidence(changed, seconds=1.0, seed=evidence.seed), changed)
        base = evidence.after
        if changed.gap and evidence.trial.program is not None:
            base = judged(evidence, replace(evidence.trial.program, gap=True))
    if tried.broke is not None or tried.problem:
        return 0.0
    return float(np.clip(_share(got) - _share(base), -1, 1))


def _share(score: Score) -> float:
    return float(np.clip(score.share, -1, 1)) if math.isfinite(score.share) else 0.0


def findings(ranked: Sequence[Ranked], symptom: Symptom) -> tuple[Finding, ...]:
    """What is told: alarms, then advice; and in words where nothing was found."""
    mends = ranked and math.isfinite(ranked[0].relief) and ranked[0].relief >= MENDS
    told = []
    for k, r in enumerate(ranked):
        if r.weight >= TOLD or r.suspicion.shows:
            spare = bool(mends and k and not r.suspicion.shows and not (math.isfinite(r.relief) and r.relief >= HELPS))
            told.append(_finding(r, symptom, spare))
    told.sort(key=lambda f: f.severity != "error")
    if not any(f.severity == "error" for f in told):
        if symptom.alarm:
            told.insert(0, Finding("unknown", symptom.words, evidence=symptom.evidence, cause="none of the known faults "
            "was found",
                                   remedy="look at the advice below; watch a whole run: with convscope.watch(model, "
                                          "optimizer) as run",
                                   disproof="a longer run that learns"))  # fmt: skip
        else:
            severity = "fine" if symptom.kind == "" else "unknown"
            told.append(Finding(severity, symptom.words, evidence=symptom.evidence,
                                cause="" if severity == "fine" else "too little could be tried in the time",
                                remedy="" if severity == "fine" else "give it more time: seconds=30"))  # fmt: skip
    return tuple(told)


def _finding(ranked: Ranked, symptom: Symptom, spare: bool = False) -> Finding:
    """`spare`: another remedy mends already, and this one's gains nothing: it is advice."""
    s = ranked.suspicion
    helps = math.isfinite(ranked.relief) and ranked.relief >= HELPS
    idle = math.isfinite(ranked.relief) and not helps and s.fault in EFFECTS  # was tried, and did nothing
    grave = s.shows or (symptom.alarm and not spare and not idle and (helps or (s.strength >= LIKELY and not s.harmless)))
    evidence = dict(s.evidence)
    if math.isfinite(ranked.relief):
        evidence["gain of a short try"] = round(ranked.relief, 3)
    words = s.symptom
    if grave and symptom.alarm and symptom.words and symptom.words not in words:
        words = f"{symptom.words}: {words}" if words else symptom.words
    return Finding("error" if grave else "advice", words, s.where, evidence, f"{fault(s.fault).name}: {s.cause}", s.remedy,
                   fault=s.fault, code=s.code, disproof=s.disproof)  # fmt: skip


def with_proof(finding: Finding, words: str, confirmed: bool) -> Finding:
    """The same finding, with what a controlled run came to."""
    return replace(finding, proof=words, confirmed=confirmed)
