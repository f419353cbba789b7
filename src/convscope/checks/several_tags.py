"""Softmax shares one probability among the classes: with m tags on an example the best that can be said of each is 1/m."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F

from convscope.checks import _output as shared
from convscope.diagnosing import changes
from convscope.diagnosing.calls import Call
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.suspicion import EXACT, Change, Suspicion
from convscope.fields import param, validate

SOFTMAX = ("cross-entropy", "nll", "probability cross-entropy", "clipped cross-entropy", "normalised cross-entropy")


@dataclass(frozen=True)
class SeveralTags:
    """Are tags that come together trained as if they excluded one another?

    Exact: targets of 0 and 1, rows of which add up to something other than 1, under a loss of exclusive classes or behind a
    softmax. Misleads where a few rows without any tag are meant to be left out. Errors: none.
    Source: Goodfellow et al. 2016, Deep Learning, 6.2.2.

    >>> import torch
    >>> from convscope.diagnosing import given
    >>> tags = (torch.arange(32).reshape(8, 4) % 3 > 0).float()
    >>> program = given.program(torch.nn.Linear(3, 4), (torch.rand(8, 3), tags), "cross-entropy")
    >>> [s.fault for s in SeveralTags()(Evidence(program))]
    ['O5']
    """

    needs: ClassVar[str] = "program"
    allowed: float = param(0.01, "share of the examples that may have another number of tags than one", low=0, high=1)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, evidence: Evidence) -> Iterator[Suspicion]:
        out, y = evidence.tensor, evidence.y
        if out is None or y is None or evidence.targets.kind != "multi-hot" or evidence.loss.problem or evidence.objective:
            return
        sums = y.sum(1)
        odd = float((sums != 1).float().mean())
        if odd <= self.allowed or not (evidence.loss.family in SOFTMAX or shared.sums_to_one(out, 1)):
            return
        yield Suspicion(
            "O5", EXACT, "only one of several tags is ever predicted, and the loss stays high",
            "softmax and loss are for exclusive classes: one probability is divided among the tags, and examples have "
            f"{float(sums.float().mean()):.2g} on average; with two the best that can be said of each is one half",
            "tags that may come together want a sigmoid each: binary cross-entropy on logits",
            {"examples without exactly one tag": odd, "allowed": self.allowed, "most tags": float(sums.max())}, "loss",
            "- nn.CrossEntropyLoss()\n+ nn.BCEWithLogitsLoss()", "every example has exactly one tag",
            _each(shared.closing(evidence)),
        )  # fmt: skip


def _each(last: Call | None) -> Change:
    change = changes.losing(lambda o, t: F.binary_cross_entropy_with_logits(o, t.to(o.dtype)), "a sigmoid for each tag")
    return change if last is None or last.op != "softmax" else change.then(changes.without([last.key], "logits"))
