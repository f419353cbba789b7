"""A loss for another task: squared errors for classes, cross-entropy for quantities, a loss that hears nothing.

    ∂/∂z ½(σ(z) − t)² = (σ(z) − t) σ′(z):   faint where the answer is wrong and sure; cross-entropy has σ(z) − t alone
    ln softmax over one unit = 0:           the loss is a constant

Golik et al. 2013, "Cross-entropy vs. squared error training"; Humbatova et al. 2020 (wrong selection of loss function).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from convscope.checks import _output as shared
from convscope.diagnosing import changes
from convscope.diagnosing.calls import Call, instead
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.suspicion import EXACT, HINT, LIKELY, STRONG, Change, Suspicion
from convscope.fields import validate


@dataclass(frozen=True)
class LossTask:
    """Does the loss fit the task that the targets set?

    Formula: the loss is known by what it computes; the task by the targets (N, …): exclusive classes, yes or no, quantities.
    A loss that is the same for all outputs (relative spread 10⁻⁶ over four draws) hears nothing.
    Misleads: squared errors often do learn classes (then it is advice); whole numbers may be classes or counts.
    Errors: none. Source: Golik et al. 2013; Humbatova et al. 2020.

    >>> from torch import nn
    >>> from convscope.diagnosing import given
    >>> loss = lambda output, target: -(target * output.log_softmax(1)).sum(1).mean()
    >>> [s.fault for s in LossTask()(Evidence(given.program(nn.Linear(3, 1), (torch.rand(8, 3), torch.randn(8, 1)), loss)))]
    ['O5']
    """

    needs: ClassVar[str] = "program"

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, evidence: Evidence) -> Iterator[Suspicion]:
        out, targets, family = evidence.tensor, evidence.targets, evidence.loss.family
        if out is None or evidence.y is None or evidence.loss.problem or evidence.objective:
            return
        quantities = targets.kind == "values"
        if quantities and shared.says_nothing(evidence):
            yield self._deaf(evidence)
        elif quantities and (
            family in ("cross-entropy", "cross-entropy (last axis)", "nll")
            or (family in ("bce logits", "bce") and (targets.low < 0 or targets.high > 1))
        ):
            yield self._quantities(evidence)
        elif targets.exclusive and family in (*shared.OF_VALUES, "mse of softmax"):
            several = out.ndim > 1 and out.shape[1] > 1 and targets.kind != "binary"
            if several or targets.kind == "binary":
                yield self._classes(evidence, several)
            elif targets.kind == "indices" and targets.classes > 2:
                yield self._numbers(evidence)

    def _deaf(self, evidence: Evidence) -> Suspicion:
        return Suspicion(
            "O5", EXACT, "the loss does not move at all, from the first step",
            "the loss is the same number whatever the network answers, so no gradient comes from it: a softmax over a "
            "single unit is always 1, and its logarithm 0. The targets are quantities, and this is a loss of classes",
            "a quantity wants a squared (or absolute) error",
            {"spread of the loss over made-up outputs": 0.0, "needed": "> 0", "loss": evidence.start}, "loss",
            "- loss\n+ nn.MSELoss()  # outputs and targets of one shape", "two different outputs with different losses",
            _squared(evidence), shows=True,
        )  # fmt: skip

    def _quantities(self, evidence: Evidence) -> Suspicion:
        t = evidence.targets
        return Suspicion(
            "O5", STRONG, "the loss falls below 0, or grows without end, and the predictions fit nothing",
            f"{evidence.loss.family} is a loss of classes and chances, and the targets are quantities from {t.low:g} to "
            f"{t.high:g}: "
            "its lowest value does not lie where output and target agree",
            "a quantity wants a linear output and a squared (or absolute) error",
            {"lowest target": t.low, "highest target": t.high, "allowed": "0 … 1"}, "loss",
            "- loss\n+ nn.MSELoss()  # outputs and targets of one shape", "the targets are chances that lie in 0 … 1",
            _squared(evidence),
        )  # fmt: skip

    def _classes(self, evidence: Evidence, several: bool) -> Suspicion:
        last, poor = shared.closing(evidence), shared.struggles(evidence)
        name = "cross-entropy" if several else "binary cross-entropy"
        made = "nn.CrossEntropyLoss()" if several else "nn.BCEWithLogitsLoss()"
        return Suspicion(
            "O5", (STRONG if several else LIKELY) if poor else HINT, "learning is slow, and stops at a middling score",
            "the loss is a squared (or absolute) error, and the targets are classes: through softmax or sigmoid its "
            "gradient is "
            "multiplied by p (1 − p), which is faint just where the answer is wrong and sure; and over many classes the "
            "mean is mostly of zeros",
            f"classes want {name}, on logits",
            {"classes": evidence.targets.classes, "norm of ∂L/∂output at the start": evidence.loss.gradient,
             "score after a short training": evidence.after.value},
            "loss", f"- loss\n+ {made}", f"{name}, in as many steps, does not do better", _entropy(several, last),
            harmless=not poor,
        )  # fmt: skip

    def _numbers(self, evidence: Evidence) -> Suspicion:
        return Suspicion(
            "O5", LIKELY if shared.struggles(evidence) else HINT, "predictions lie between the classes",
            "one number is fitted to the index of a class, as if class 2 lay between 1 and 3",
            "where the numbers are names of classes: one output a class, and cross-entropy",
            {"classes": evidence.targets.classes, "outputs": 1}, "loss",
            f"- nn.Linear(…, 1)\n+ nn.Linear(…, {evidence.targets.classes})  # with nn.CrossEntropyLoss()",
            "the numbers are counts or grades, whose order means something", harmless=not shared.struggles(evidence),
        )  # fmt: skip


def _squared(evidence: Evidence) -> Change:
    change = changes.losing(shared.squares, "squared error")
    last = shared.closing(evidence)
    if last is not None:
        change = change.then(changes.without([last.key], "linear output"))
    if max(abs(evidence.targets.mean), evidence.targets.std) > 10:
        change = change.then(changes.standardised_targets(evidence.program.examples))
    return change


def _entropy(several: bool, last: Call | None) -> Change:
    """Cross-entropy that reads what the network gives, so that predictions are read as before."""
    if not several:
        if last is None:
            return changes.losing(_around, "binary cross-entropy")
        change = changes.losing(shared.of_chances, "binary cross-entropy")
        rule = {last.key: instead(torch.sigmoid)}
        return change if last.op == "sigmoid" else change.then(changes.calling(rule, "sigmoid"))
    change = changes.losing(shared.entropy, "cross-entropy")
    return change if last is None else change.then(changes.without([last.key], "logits"))




def _around(output: Tensor, target: Tensor) -> Tensor:
    """Outputs are compared with a half: the logit is what is above it."""
    return F.binary_cross_entropy_with_logits(output - 0.5, target.to(output.dtype).reshape(output.shape))
