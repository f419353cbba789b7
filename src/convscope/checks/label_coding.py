"""Are labels coded as the loss reads them: class numbers, one-hot rows, 0/1?

Exact, by calling the loss. It refuses the labels, and takes them when they are coded in another way ⟹ D6. A cross-entropy of
probabilities −t ln p − (1−t) ln(1−p) with t outside 0..1 has no floor ⟹ D6. Labels k/m with a loss of classes, or all of one
class: they went through the inputs' scaling ⟹ D5 (Keras and PyTorch both cut them to whole numbers without a word).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from convscope.checks._labels import broadcast, outside, refused
from convscope.diagnosing import changes
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.suspicion import EXACT, STRONG, Suspicion
from convscope.fields import param, validate

BINARY = ("bce", "bce logits")


@dataclass(frozen=True)
class LabelCoding:
    """Are the labels coded in the way that the loss reads them?

    Of targets (N, …) and outputs (B, K): a loss that raises is called again on the labels in each other coding (whole
    numbers, from 0, one-hot (B, K), class numbers (B,), a column (B, 1), 0/1). Binary cross-entropy with labels outside
    0..1; equally spaced fractions with a loss of classes; a single class for K > 1 outputs.

    Misleads for fractions that are meant (soft labels, ratings): then the classes are not told apart by them. Errors: none.
    Source: Humbatova et al. 2020, "Taxonomy of real faults in deep learning systems" (wrong labels, wrong format).

    >>> from convscope.diagnosing import given
    >>> data = (torch.rand(8, 3), torch.arange(8.0) % 2)
    >>> program = given.program(torch.nn.Linear(3, 2), data, "cross-entropy", "sgd:0.1")
    >>> [s.fault for s in LabelCoding()(Evidence(program))]
    ['D6']
    """

    needs: ClassVar[str] = "program"
    repeats: int = param(5, "examples a value of a label, at least, for fractions to be taken for classes", low=2)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, evidence: Evidence) -> Iterator[Suspicion]:
        y, o = evidence.program.examples.y, evidence.tensor
        if y is None or o is None or evidence.program.objective or not o.ndim:
            return
        if y.is_complex() or not evidence.targets.finite:
            return
        step = self._spacing(evidence)
        if evidence.targets.distinct == 1 and len(y) > 2 and self._classifies(evidence):
            yield _one_class(evidence)
        elif step and (self._classifies(evidence) or evidence.loss.problem):
            yield _divided(evidence, step)
        elif evidence.loss.problem:
            yield from refused(evidence, evidence.y, evidence.loss.problem)
        elif evidence.trial.problem:
            extreme = y.reshape(len(y), -1).double().amax(1).argsort(descending=True)[: len(o)]
            yield from refused(evidence, y[extreme].to(o.device), evidence.trial.problem)
        elif evidence.loss.family in BINARY and (evidence.targets.high > 1 or evidence.targets.low < 0):
            yield from outside(evidence)
        elif evidence.targets.kind == "indices" and o.ndim == 2 and o.shape[1] > 1 and y.numel() == len(y):
            yield from broadcast(evidence)

    def _classifies(self, evidence: Evidence) -> bool:
        o = evidence.tensor
        many = o is not None and o.ndim >= 2 and o.shape[1] > 1
        soft = evidence.loss.applies_softmax or evidence.last in ("softmax", "log_softmax")
        return evidence.loss.classifies or (many and soft)

    def _spacing(self, evidence: Evidence) -> float:
        """The step of labels k·step that fill 0 … 1 or lie about 0; 0.0 where they are no such fractions."""
        t, y = evidence.targets, evidence.program.examples.y
        if y is None or t.kind != "values" or not t.floating or t.numbers != 1:
            return 0.0
        if not 2 < t.distinct <= len(y) / self.repeats:
            return 0.0
        values = torch.unique(y.double())
        step = float(values.diff().min())
        places = (values - values[0]) / step
        even = bool(((places - places.round()).abs() < 1e-2).all()) and float(places[-1]) < 2 * len(values)
        return step if even and step < 1 and t.high - t.low <= 4 and t.low <= 0 else 0.0


def _one_class(evidence: Evidence) -> Suspicion:
    t = evidence.targets
    return Suspicion(
        "D5", EXACT, "accuracy is 1 in training and at chance elsewhere", f"all labels are {t.low:g}: there is "
        "nothing to tell "
        "apart. Labels divided like pixels and cut to whole numbers end so", "scale the inputs alone, and keep the labels",
        {"different labels": 1.0, "needed": 2.0, "examples": float(t.counts.sum()) if t.counts is not None else 0.0},
        where="labels", code="- y = y / 255\n+ # labels are class numbers: not scaled", disproof="a second class in "
        "the labels",
        shows=True,
    )  # fmt: skip


def _divided(evidence: Evidence, step: float) -> Suspicion:
    t, o = evidence.targets, evidence.tensor
    assert o is not None
    classes = round((t.high - t.low) / step) + 1
    fits = o.ndim == 2 and o.shape[1] >= classes

    def back(y: Tensor) -> Tensor:
        return ((y.double() - t.low) / step).round().long().reshape(len(y))

    return Suspicion(
        "D5", STRONG, "accuracy stays at 0 or at chance", f"labels are fractions, {step:.4g} apart, from {t.low:g} to "
        f"{t.high:g}: "
        f"{t.distinct} classes that were scaled like inputs; cut to whole numbers, nearly all become one class",
        "leave the labels as class numbers",
        {"different labels": float(t.distinct), "spacing": step, "spacing of class numbers": 1.0,
         "outputs": float(o[0].numel())},
        where="labels", code="- y = y / y.max()\n+ # labels are class numbers: not scaled",
        disproof="the values are degrees that are meant (soft labels)",
        change=changes.answers(back, "labels as class numbers") if fits else None, shows=bool(evidence.loss.problem),
    )  # fmt: skip
