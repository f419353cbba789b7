"""Does a heat-map keep what its method promises? One sentence from its proof and notes, for pictures and tables.

A method says its promise in three ways: a number with a bar that it must stay under (the bars stand here, once), a count
such as '26 of 26', or words ('the promise fails: …' among the notes, 'applies: no: …' or 'not promised: …' in the proof).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from convscope.draw import words
from convscope.results import Heatmap

# What a number of a proof must stay under: sums that must come out are float32 sums, samples have standard errors.
BARS: dict[str, float] = {
    "disagreement with a finite difference": 1e-2,
    "completeness error": 1e-2,
    "unexplained, of Σ|R| (worst layer)": 1e-4,
    "unexplained, of P (worst layer)": 1e-4,
    "Σ A − (S(x) − S(x')), relative": 1e-4,
    "disagreement of its mean, plus the bias, with the score": 1e-4,
    "disagreement of its sum, plus the bias, with the score": 1e-4,
}
SAMPLED: dict[str, float] = {"standard error, share of the map": 0.5, "relative to the spread of the map": 0.5,
                             "change of the map by the last doubling": 0.1}
SCORED: dict[str, float] = {"largest difference to full passes": 1e-4}  # relative to max(1, |score|)
TOLD = ("completeness difference", "difference of the sum to the score")  # held to a bar by the method itself
COUNTED = "rectifiers that the rule reached"  # 'a of b': all of them must be
KEPT, FAILS, UNSURE, OPEN, NONE = "kept", "fails", "uncertain", "not promised", "does not apply"


@dataclass(frozen=True)
class Verdict:
    """What became of a promise, and why.

    'kept' (with the number that says so), 'fails', 'uncertain' (too few samples), 'not promised' (nothing to hold it to),
    'does not apply'.
    """

    state: str
    why: str = ""

    def __str__(self) -> str:
        return f"{self.state}: {self.why}" if self.why else self.state


def verdict(heat: Heatmap) -> Verdict:
    """The promise of this map's method, held against the map's own proof.

    >>> import numpy as np
    >>> heat = Heatmap(values=np.ones((1, 1, 1, 1)), images=np.zeros((1, 1, 1, 3), "u1"), targets=("7",),
    ...                scores=np.ones(1), proof={"completeness error": 0.2})
    >>> str(verdict(heat))
    'fails: completeness error is 0.2, over 0.01'
    """
    proof = heat.proof
    if NONE in proof:
        return Verdict(NONE, words.clean(proof[NONE]))
    said = next((note for note in heat.notes if note.startswith("the promise fails")), "")
    if said:
        return Verdict(FAILS, words.clean(said.removeprefix("the promise fails").lstrip(": ")))
    score = max(1.0, *(abs(float(s)) for s in heat.scores)) if len(heat.scores) else 1.0
    bars = BARS | SAMPLED | {name: bar * score for name, bar in SCORED.items()}
    held = {name: abs(value) for name, value in proof.items() if name in bars and not isinstance(value, str)}
    over = next((name for name, value in held.items() if not value <= bars[name]), None)
    if over is not None:
        why = f"{over} is {words.number(held[over])}, over {words.number(bars[over])}"
        return Verdict(UNSURE if over in SAMPLED else FAILS, why)
    reached = re.fullmatch(r"(\d+) of (\d+)", str(proof.get(COUNTED, "")))
    if reached and reached[1] != reached[2]:
        return Verdict(FAILS, f"{COUNTED}: {reached[0]}")
    reasons = [str(v) for v in proof.values() if str(v).startswith(("no: ", "not promised"))]
    if reasons:
        return Verdict(OPEN, words.clean(reasons[0].removeprefix("no: ").removeprefix("not promised").lstrip(": ")))
    shown = [name for name in proof if name in held or (name == COUNTED and reached) or name in TOLD]
    return Verdict(KEPT, f"{words.value(proof[shown[0]])} {shown[0]}") if shown else Verdict(OPEN)
