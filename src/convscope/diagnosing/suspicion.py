"""What a check suspects, and the change that would mend it. Not yet an alarm: that needs a symptom (`verdict.py`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from convscope.diagnosing.program import Program

EXACT, STRONG, LIKELY, HINT = 1.0, 0.8, 0.6, 0.3  # how sure a check is before anything was tried


@dataclass(frozen=True)
class Change:
    """A remedy that can be run: a function from a twin of the program to the program changed."""

    name: str  # 'logits to the loss'
    apply: Callable[[Program], Program]

    def then(self, other: Change) -> Change:
        """Both, one after the other."""
        return Change(f"{self.name}, then {other.name}", lambda program: other.apply(self.apply(program)))


@dataclass(frozen=True)
class Suspicion:
    """One fault that a check suspects."""

    fault: str  # its code
    strength: float  # EXACT: it follows from what was measured; HINT: it may be
    symptom: str  # in the user's words: 'the output is the same for every image'
    cause: str  # why, with the mechanism
    remedy: str  # what to do
    evidence: dict[str, float | str] = field(default_factory=dict[str, "float | str"])  # numbers, with their thresholds
    where: str = ""  # layer, call or array; with the user's line where it is known
    code: str = ""  # lines that begin with '-' and '+'
    disproof: str = ""  # what would show that it is something else
    change: Change | None = None
    harmless: bool = False  # it is there, but by itself rarely keeps a network from learning: advice whatever the symptom
    shown: str = ""  # what proves the remedy without a training: the same outputs, counted right
    shows: bool = False  # this evidence is a symptom by itself: a loss that cannot reach its floor, weights that never move
