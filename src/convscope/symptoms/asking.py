"""What might be behind this sentence? A symptom in the user's words becomes ranked causes, each with what tells it apart.

A sentence is tagged (phrases.py), its numbers are read (figures.py), symptoms are recognised (table.py) and what it says of
the program weighs in (hints.py). The share of a cause is its weight among all; it ranks, it is no probability.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from convscope.diagnosing.faults import FAULTS, fault
from convscope.errors import UsageError, unknown
from convscope.results import Finding, Findings
from convscope.symptoms.causes import CAUSES
from convscope.symptoms.explaining import explain, knows
from convscope.symptoms.figures import Figure, figures
from convscope.symptoms.hints import HINTS, NAMES_A_FAULT
from convscope.symptoms.phrases import plain, tagged
from convscope.symptoms.table import SYMPTOMS, Symptom

SHOWN = 6  # causes
READ = 2000  # characters of a sentence; a pasted page is no symptom
FACTS = ("classes", "outputs", "loss", "activation", "optimizer", "rate", "batch_size")
# What a loss of this kind and value says.
_OF_FIGURES = {
    "chance": ("the loss stays at {formula}: that of answering every class alike", 1.6,
               {"D1": 24, "P1": 20, "P6": 11, "P5": 8, "A2": 9, "O1": 8, "D7": 8, "P7": 6, "A4": 5, "D3": 4}),
    "floor": ("the loss stops at {formula}, the floor under softmax applied twice", 4, {"O2": 90, "O3": 4, "P2": 3}),
    "cut": ("the loss is {formula}: a constant answer of 1, its probability cut off "
            "at 1e-7", 3, {"O1": 80, "O3": 10, "D6": 6}),
    "none": ("the loss is almost 0 at once", 3, {"O1": 70, "O7": 20, "D5": 6}),
}  # fmt: skip


@dataclass
class _Reading:
    """What was recognised in one sentence."""

    text: str
    tags: str
    symptoms: list[tuple[Symptom, str]] = field(default_factory=list["tuple[Symptom, str]"])
    figures: tuple[Figure, ...] = ()
    weights: dict[str, float] = field(default_factory=dict[str, float])
    reasons: dict[str, list[str]] = field(default_factory=dict[str, "list[str]"])

    def add(self, causes: Mapping[str, float], times: float, reason: str) -> None:
        for code, weight in causes.items():
            self.weights[code] = self.weights.get(code, 0) + weight * times
            self.reasons.setdefault(code, []).append(reason)


def ask(sentence: str, facts: Mapping[str, Any] | None = None) -> Findings:
    """What might be behind a symptom, and what would tell the causes apart?

    sentence: in anybody's words ("loss is nan after a few batches"), or a message of torch, which is explained instead.
    facts: what is known of the program: classes, outputs (numbers), loss, activation, optimizer (names), rate, batch_size.
    The title is the sentence; findings are ranked; 'share' is a cause's part of all weights. Nothing is run or proved.

    Misleads: a sentence says little; most symptoms have five causes. Where the first two are close, the notes say so.
    Errors: UsageError for an empty sentence, UnknownName for a fact that is not one of the above.

    >>> found = ask("loss won't go below 1.46, ten classes")
    >>> found.findings[0].fault, found.findings[0].evidence["softmax twice"]
    ('O2', 'ln(e + 10 − 1) − 1 = 1.4612')
    """
    if not sentence.strip():
        raise UsageError("no symptom to look for", "the sentence is empty", 'say what is seen: "the loss is flat"')
    known = dict(facts or {})
    for name in known:
        if name not in FACTS:
            raise unknown("fact", name, FACTS, f"known are {', '.join(FACTS)}")
    if knows(sentence):
        return Findings(title="a message explained", findings=(explain(sentence),))
    reading = _read(sentence, known)
    if not reading.weights:
        return _not_understood(sentence, reading)
    _weigh_facts(reading, known)
    ranked = sorted(reading.weights.items(), key=lambda one: (-one[1], FAULTS[one[0]].order))
    total = sum(weight for _, weight in ranked)
    found = tuple(_finding(code, weight / total, reading) for code, weight in ranked[:SHOWN])
    cut = () if len(sentence) <= READ else (f"only the first {READ:,} characters were read",)
    return Findings(title=f"“{_short(sentence)}”", findings=found, notes=(*cut, *_notes(reading, ranked, total)))


def _read(sentence: str, known: Mapping[str, Any]) -> _Reading:
    text = plain(sentence[:READ])
    reading = _Reading(text, tagged(text), figures=figures(text, known.get("classes")))
    for symptom in SYMPTOMS:
        match = next((m for p in symptom.patterns if (m := re.search(p, reading.tags))), None)
        if match is not None:
            reading.symptoms.append((symptom, match[0].strip()))
            reading.add(symptom.causes, symptom.strength, symptom.name)
    for figure in reading.figures:
        name, times, causes = _OF_FIGURES[figure.kind]
        said = name.format(formula=figure.formula)
        reading.symptoms.append((Symptom(said, (), causes), f"{figure.said:g}"))
        reading.add(causes, times, said)
        if figure.kind == "chance" and "O1" in reading.weights:  # a single unit's softmax gives 0 or the cut-off, never ln C
            reading.weights["O1"] *= 0.2
    hints = [(m[0].strip(), causes) for p, causes in HINTS.items() if (m := re.search(p, text))]
    if not reading.weights:  # a hint alone: only one that names a fault
        sums: dict[str, float] = {}
        for _, causes in hints:
            sums |= {code: sums.get(code, 0) + weight for code, weight in causes.items()}
        named = {code for code, weight in sums.items() if weight >= NAMES_A_FAULT}
        hints = [(said, causes) for said, causes in hints if named & set(causes)]
    for said, causes in hints:
        reading.add(causes, 1, f"“{said}”")
    return reading


def _weigh_facts(reading: _Reading, known: Mapping[str, Any]) -> None:
    """What is known of the program speaks for some causes."""
    activation, loss = str(known.get("activation", "")).lower(), re.sub(r"[\W_]", "", str(known.get("loss", "")).lower())
    outputs, classes, rate = known.get("outputs"), known.get("classes"), known.get("rate")
    if "softmax" in activation and outputs == 1:
        reading.add({"O1": 300}, 1, "softmax over one output")
    if activation == "softmax" and "crossentropyloss" in loss:
        reading.add({"O2": 150}, 1, "softmax before CrossEntropyLoss")
    if loss in ("bceloss", "nllloss", "binarycrossentropy") and activation in ("", "none", "linear", "relu", "tanh"):
        reading.add({"O3": 120 if "activation" in known else 20}, 1, f"{known['loss']} on a "
                                                                     f"{activation or 'unknown'} output")
    if loss in ("mseloss", "mse", "meansquarederror") and classes:
        reading.add({"O5": 60}, 1, "squared error for classes")
    if classes and outputs and outputs < classes and not (classes == 2 and outputs == 1):
        reading.add({"O7": 200}, 1, f"{outputs} outputs for {classes} classes")
    if rate is not None:
        high = 0.5 if "sgd" in str(known.get("optimizer", "")).lower() else 0.02
        reading.add({"P1": 50} if rate >= high else {"P2": 60} if rate <= 1e-6 else {}, 1, f"a rate of {rate:g}")
    if known.get("batch_size") in (1, 2):
        reading.add({"A11": 20}, 1, f"batches of {known['batch_size']}")


def _finding(code: str, share: float, reading: _Reading) -> Finding:
    cause, reasons = CAUSES[code], list(dict.fromkeys(reading.reasons[code]))
    names = [symptom.name for symptom, _ in reading.symptoms]
    evidence: dict[str, float | str] = {"share": round(share, 3)}
    for figure in reading.figures:
        name = {"chance": "guessing", "floor": "softmax twice", "cut": "cut-off", "none": "least loss"}[figure.kind]
        evidence[name] = f"{figure.formula} = {figure.exact:.4f}" if figure.kind != "none" else figure.formula
    if hints := [reason for reason in reasons if reason not in names]:
        evidence["speaks for it"] = "; ".join(hints)
    return Finding(severity="advice", symptom="; ".join(r for r in reasons if r in names) or "; ".join(reasons),
                   evidence=evidence, fault=code,
                   cause=f"{fault(code).name}: {cause.why}", remedy=cause.remedy, code=cause.code, disproof=cause.disproof)


def _notes(reading: _Reading, ranked: list[tuple[str, float]], total: float) -> tuple[str, ...]:
    notes = ["ranked by the sentence alone; `convscope check` looks at network, data and loss, and --prove tries the remedy"]
    first = [weight for _, weight in ranked[:2]]
    if len(first) == 2 and first[1] > 0.75 * first[0]:
        names = " and ".join(f"{code} ({FAULTS[code].name})" for code, _ in ranked[:2])
        notes.append(f"ambiguous: {names} are about as likely; what would clear each tells them apart")
    if len(ranked) > SHOWN:
        rest = sum(weight for _, weight in ranked[SHOWN:]) / total
        notes.append(f"{len(ranked) - SHOWN} less likely causes are left out ({rest:.0%} of the weight)")
    unsaid = [f for f in reading.figures if f.classes and f.kind in ("chance", "floor")]
    notes += [f"{f.said:g} is {f.formula} if there are {f.classes} classes" for f in unsaid]
    return tuple(notes)


def _not_understood(sentence: str, reading: _Reading) -> Findings:
    """Say so, with the symptoms that share most words with the sentence."""
    words = set(re.findall(r"[a-z]{4,}", reading.text)) | set(re.findall(r"\b[A-Z]{3,}\b", reading.tags))
    near = sorted(SYMPTOMS, key=lambda s: -len(words & _words_of(s)))
    shared = [s.name for s in near[:4] if words & _words_of(s)]
    nearest = "; ".join(shared) or "; ".join(s.name for s in SYMPTOMS[:4])
    found = Finding(
        severity="unknown", symptom=f"“{_short(sentence)}”", cause="no symptom of training was recognised in this sentence",
        remedy=f"say what the loss, the accuracy or the outputs do. The nearest of {len(SYMPTOMS)} known symptoms: "
               f"{nearest}. Or let "
               "`convscope check NETWORK --data …` look for itself",
    )
    return Findings(title=f"“{_short(sentence)}”", findings=(found,))


def _short(sentence: str) -> str:
    """The user's words in one line, a long text by its beginning."""
    line = " ".join(sentence.split())
    return line if len(line) <= 160 else line[:159] + "…"


def _words_of(symptom: Symptom) -> set[str]:
    return set(re.findall(r"[a-z]{4,}", symptom.name)) | set(re.findall(r"[A-Z]{3,}", " ".join(symptom.patterns)))
