"""A12, dropout too strong.

    keep = Π (1 − p_l) over the dropout layers in a row: the share of a signal's ways through the network that is left

Srivastava et al. 2014, "Dropout": 0.5 for wide hidden layers, 0.2 for inputs; capacity n asks for n/(1 − p) units.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from convscope.checks._sites import line, place
from convscope.checks._tried import tried, won
from convscope.diagnosing.calls import Call
from convscope.diagnosing.changes import without
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.suspicion import HINT, LIKELY, STRONG, Suspicion
from convscope.fields import param, validate


@dataclass(frozen=True)
class Dropout:
    """Does dropout leave enough of the signal to learn from?

    Formula: Π (1 − p) over all dropout layers in training, from 0 to 1; and the way to the floor that the same steps win
    without dropout (its training loss is lower anyway: a little is no sign). Misleads: strong dropout on a network that
    scores well is a choice. p is read off the calls, so it is the share dropped, not kept.
    Errors: none. Source: Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks from overfitting".

    >>> import torch
    >>> from convscope.diagnosing import given
    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Dropout(0.97), torch.nn.Linear(8, 2))
    >>> data = (torch.randn(16, 4), torch.arange(16) % 2)
    >>> [s.fault for s in Dropout()(Evidence(given.program(net, data, "cross-entropy", epochs=1)))]
    ['A12']
    """

    needs: ClassVar[str] = "program"
    single: float = param(0.8, "rate of one layer from which it is too strong", low=0, high=1)
    kept: float = param(0.1, "share kept by all of them together, under which they are too strong", low=0, high=1)
    gain: float = param(0.1, "share of the way to the floor won without it", low=0, high=1)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, evidence: Evidence) -> Iterator[Suspicion]:
        drops = [(c, p) for c in evidence.calls if c.op == "dropout" and (p := _rate(c)) > 0]
        if not drops:
            return
        kept = math.prod(1 - p for _, p in drops)
        call, top = max(drops, key=lambda d: d[1])
        strong = top >= self.single or kept < self.kept
        if not strong and (kept > 0.5 or evidence.after.learned):
            return
        change = without(["dropout"], "without dropout")
        other = None if evidence.after.learned else tried(evidence, change)
        gain = 0.0 if other is None else won(evidence, other)
        if not strong and gain <= self.gain:
            return
        learned = evidence.after.learned
        yield Suspicion(
            "A12",
            HINT if learned else STRONG if strong and gain > self.gain else LIKELY if strong or gain > self.gain else HINT,
            "the training score is low, and lower than the held-out one",
            f"{len(drops)} dropout layer{'s' if len(drops) > 1 else ''} leave {kept:.1%} of the ways through the network; "
            f"the strongest drops {top:.0%}",
            "lower rates: 0.5 at most, 0.1 to 0.2 behind convolutions, none where the network does not over-fit",
            {
                "kept by all": kept,
                "threshold (kept)": self.kept,
                "strongest": top,
                "threshold (one)": self.single,
                "way to the floor won without": gain,
            },
            place(call),
            f"- {call.name}: rate={top:g}\n+ {call.name}: rate=0.1"
            if evidence.program.framework == "keras"
            else line(call, "nn.Dropout(0.1)"),
            "without dropout the training loss falls no further",
            change,
            harmless=learned or not strong,
        )


def _rate(call: Call) -> float:
    p = call.settings.get("p", 0.0)
    return float(p) if isinstance(p, (int, float)) and call.settings.get("training", True) else 0.0
