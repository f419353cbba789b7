"""A question in words, and the evidence beside it: what the sentence suggests, what the program shows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from convscope import opening
from convscope.diagnosing import opened
from convscope.diagnosis import Progress, diagnose
from convscope.errors import OpeningError, UsageError
from convscope.results import Finding, Findings
from convscope.symptoms.asking import ask
from convscope.symptoms.explaining import explain, knows


def answered(words: str, reference: str | None, seconds: float, progress: Progress | None, network: Any,
             given: dict[str, Any]) -> Findings:  # fmt: skip
    """The ranked causes of a sentence, or the explanation of a message; with a program, checked on it."""
    seed = given.pop("seed", 0)
    if knows(words):
        net = None
        if reference is not None:
            try:
                net = opening.open(reference, **(network or {}))
            except (OpeningError, UsageError):
                net = None  # a whole program: its layers are not needed to explain most messages
        return Findings(title="what the message means", findings=(explain(words, net),))
    said = ask(words)
    if reference is None:
        return said
    found = diagnose(opened.program(reference, network=network, **given), None, seconds, seed, 0, progress)
    shown = {f.fault: f for f in found.findings if f.fault}
    guessed = {f.fault: f for f in said.findings if f.fault}
    told = [*found.findings]
    told += [_ruled_out(f) for code, f in guessed.items() if code not in shown][:5]
    note = (
        f"asked: {words}; of its {len(guessed)} usual causes {len(guessed.keys() & shown.keys())} were found on the program"
    )
    return replace(found, title=f"{found.title}", findings=tuple(told), notes=(*found.notes, note, *said.notes))


def _ruled_out(finding: Finding) -> Finding:
    """A usual cause that the checks did not find."""
    return replace(finding, severity="fine", symptom=f"usual cause, not found here: {finding.cause.split(':')[0]}", code="")
