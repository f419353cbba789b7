"""Does augmentation change inputs more than they differ from one another?

    x'_i, x''_i: one example read twice.   within = mean over i, features of (x'_i − x''_i)²/2,   total = variance of x'
    share = within/total      0: nothing is changed; near 1: two readings of one example are as far apart as any two

and whether a reading's nearest neighbour in the other reading has its label, against labels permuted.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from convscope.checks._data import augmented, flat, labels, poor
from convscope.diagnosing import changes
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.program import Program
from convscope.diagnosing.suspicion import HINT, LIKELY, STRONG, Suspicion
from convscope.fields import param, validate


@dataclass(frozen=True)
class Augmentation:
    """Is augmentation so strong that an example is not to be recognised in its own second reading?

    Of the first examples, read twice (n, …): the share of the variance that changes from reading to reading, and how often
    the nearest neighbour in the other reading is the example itself. Above `most` with a training that goes badly: a fault.

    Misleads for crops and flips of textured images, which move all pixels and spare the class: then training goes well, and
    nothing is said. Errors: none.
    Source: Shorten & Khoshgoftaar 2019, "A survey on image data augmentation"; Gontijo-Lopes et al. 2021, "Affinity and
    diversity".

    >>> from convscope.diagnosing import given
    >>> program = given.program(torch.nn.Linear(2, 1), (torch.rand(9, 2), torch.rand(9, 1)), "mse", "sgd:0.1")
    >>> list(Augmentation()(Evidence(program)))  # read once
    []
    """

    needs: ClassVar[str] = "program"
    most: float = param(0.25, "share of the inputs' variance that may change from reading to reading", low=0, high=1)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, evidence: Evidence) -> Iterator[Suspicion]:
        e = evidence.program.examples
        if e.once is None or e.again is None or not e.epochs or not augmented(e) or len(e.once[0]) < 8:
            return
        a, b = e.once[0], e.again[0]
        if a.shape != b.shape or not a.is_floating_point():
            return
        share = within(a, b)
        if not math.isfinite(share) or share <= self.most or not (poor(evidence) or not evidence.after.share > 0.7):
            return
        itself = same(a, b)
        strength = STRONG if share > 2 * self.most else LIKELY
        if itself > 0.9:
            strength = HINT  # every example is still itself
        held = evidence.program.held_out
        numbers: dict[str, float | str] = {
            "variance that changes, share": share, "at most": self.most, "recognised in its second reading, share": itself,
            "by chance": 1 / len(a), f"{evidence.after.metric} after a short training": evidence.after.value,
        }  # fmt: skip
        if held is not None and labels(evidence, held) is not None:
            judged = evidence.judge(replace(evidence.trial.program or evidence.twin, examples=held))
            numbers[f"held-out {judged.metric}"] = judged.value
        yield Suspicion(
            "D12", strength, "training cannot fit, and is no better than held-out scores",
            f"{share:.0%} of the inputs' variance changes from one reading of an example to the next: what "
            "augmentation adds is "
            "larger than what tells examples apart, and the network sees other inputs than it is used on",
            "weaken augmentation (smaller noise, smaller erased or cut part) until an example is recognised in its readings",
            numbers, where="augmentation", code="- transform(strength)\n+ transform(strength / 4)",
            disproof="the same training on one fixed reading does no better",
            change=changes.rewritten(_calmed, "every epoch on one fixed reading"),
        )  # fmt: skip


def within(a: Tensor, b: Tensor) -> float:
    """The share of the variance that changes between two readings (n, …)."""
    a, b = a.double().reshape(len(a), -1), b.double().reshape(len(b), -1)
    total = torch.cat([a, b]).var(0, unbiased=False).mean()
    return float((a - b).square().mean() / 2 / total) if float(total) > 0 else math.nan


def same(a: Tensor, b: Tensor) -> float:
    """How often the nearest of the second reading is the example itself."""
    both, _ = flat(torch.cat([a, b]), 2 * len(a))
    if len(both) < 2 * len(a):
        return math.nan
    return float((torch.cdist(both[: len(a)], both[len(a) :]).argmin(1) == torch.arange(len(a))).double().mean())


def _calmed(program: Program) -> Program:
    """One fixed reading: what remains to be learned is the same in every epoch."""
    e = program.examples
    return replace(program, examples=replace(e, x=e.epochs[0][0], y=e.epochs[0][1], epochs=()))
