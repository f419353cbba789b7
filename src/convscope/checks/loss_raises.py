"""The program raises: which fault is behind the message?

torch's message is explained (`symptoms/`), and where the targets say more than the message does, they decide: 'target
should be between 0 and 1' is a coding of labels, or quantities in a loss of chances.

Wardat et al. 2021, "DeepLocalize"; 13 of the 109 programs of the studies are refused by an error of shapes or ranges.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from convscope.checks import _output as shared
from convscope.checks.output_width import widened
from convscope.diagnosing import changes
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.faults import FAULTS
from convscope.diagnosing.program import trainable
from convscope.diagnosing.suspicion import EXACT, STRONG, Change, Suspicion
from convscope.fields import validate
from convscope.symptoms.explaining import explain


@dataclass(frozen=True)
class LossRaises:
    """Why does the forward pass or the loss raise?

    Formula: the first message of forward, loss and training step, explained in the user's layers; the fault by the message
    and by what the targets (N, …) are.
    Misleads: a message that is not known is told as it is, under 'layers in the wrong order' or 'labels coded otherwise'.
    Errors: none. Source: Wardat et al. 2021.

    >>> from convscope.diagnosing import given
    >>> program = given.program(torch.nn.Linear(3, 2), (torch.rand(8, 3), torch.arange(8) % 3), "cross-entropy")
    >>> [s.fault for s in LossRaises()(Evidence(program))]
    ['O7']
    """

    needs: ClassVar[str] = "program"

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, evidence: Evidence) -> Iterator[Suspicion]:
        forward, scalar = evidence.first[2], evidence.loss.scalar
        if not scalar:
            yield self._table(evidence)
            return
        message = forward or (evidence.loss.problem if evidence.tensor is not None else evidence.trial.problem)
        message = message or evidence.trial.problem
        if not message:
            return
        known = explain(message, None if evidence.program.framework == "keras" else evidence.twin.model)
        fault = self._fault(evidence, known.fault, bool(forward), message)
        change = _mend(evidence, fault) if evidence.loss.problem and not forward else None
        out, y = evidence.tensor, evidence.y
        two = not (fault == "D6" and "between 0 and 1" in message and evidence.targets.classes > 2)
        own = known.fault == fault and two  # what is known of the message is for two classes
        yield Suspicion(
            fault, EXACT if known.fault in FAULTS else STRONG, _seen(evidence, message),
            known.cause if own or fault not in _WHY else _WHY[fault],
            known.remedy if own or fault not in _REMEDY else _REMEDY[fault],
            {"raised in": "forward" if forward else "loss or backward",
             "outputs": "none" if out is None else f"{tuple(out.shape)} {out.dtype}".replace("torch.", ""),
             "targets": "none" if y is None else f"{tuple(y.shape)} {y.dtype}, {evidence.targets.low:g} … "
                                                 f"{evidence.targets.high:g}".replace("torch.", "")},
            known.where or ("forward" if forward else "loss"), known.code if own else _CODE.get(fault, ""),
            known.disproof or "the same call passes", change, shows=True,
        )  # fmt: skip

    def _fault(self, evidence: Evidence, known: str, forward: bool, message: str) -> str:
        """The message's fault, where the targets do not say better."""
        out, y, targets = evidence.tensor, evidence.y, evidence.targets
        if known == "P7" and not trainable(evidence.program.model):
            return "P6"  # no graph, because nothing asks for a gradient
        if "target" in message and "between 0 and 1" in message:
            return "O5" if targets.kind == "values" else "D6"
        if not forward and out is not None and y is not None and targets.kind == "values" and "bounds" in message:
            return "O5"
        if not forward and "bounds" in message and targets.counts is not None and targets.kind == "indices":
            return "O7" if targets.counts[0] else "D6"  # too few outputs; or labels that begin at 1
        if known in FAULTS:
            same = out is not None and y is not None and out.numel() == y.numel() and out.shape != y.shape
            coded = targets.exclusive and out is not None and out.ndim > 1 and out.shape[-1] >= max(targets.classes, 2)
            return "O8" if known == "O7" and same else "D6" if known in ("O7", "O8") and coded and not same else known
        return "A9" if forward else "D6"

    def _table(self, evidence: Evidence) -> Suspicion:
        def mean(loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
            return lambda output, *target: loss(output, *target).mean()

        return Suspicion(
            "O9", EXACT, "training does not start: backward() asks for one number",
            f"{evidence.loss.problem}: a loss for each example, and none for the batch", "take the mean over the batch",
            {"numbers needed": 1}, "loss", '- reduction="none"\n+ reduction="mean"', "loss.ndim is 0",
            changes.wrapping(mean, "mean over the batch"), shows=True,
        )  # fmt: skip


def _seen(evidence: Evidence, message: str) -> str:
    """The symptom in the words that are used where there is no suspicion, so that it is told once."""
    who = "network" if evidence.first[2] else "loss" if evidence.tensor is not None and evidence.loss.problem else ""
    if who:
        return f"the {who} raises an error: {message}"
    return f"training raises an error after {len(evidence.trial.losses)} steps: {message}"


_WHY = {
    "O5": "the targets are quantities, and the loss is one of classes and chances: it refuses what lies outside 0 … 1",
    "D6": "the labels are coded in another way than the loss reads them",
    "A9": "the layers do not fit one another",
}
_REMEDY = {
    "O5": "a quantity wants a linear output and a squared (or absolute) error",
    "D6": "code the labels as the loss reads them: indices for cross-entropy, one-hot rows or 0 and 1 for a loss of chances",
    "A9": "make the sizes of neighbouring layers agree",
}
_CODE = {
    "O5": "- loss\n+ nn.MSELoss()  # outputs and targets of one shape",
    "D6": "- loss(output, y)\n+ loss(output, F.one_hot(y.long(), C).float())  # or class indices, as the loss reads them",
}


def _mend(evidence: Evidence, fault: str) -> Change | None:
    """The remedy, where there is one that can be run: targets as the loss reads them, or the loss of the task."""
    out, y, targets = evidence.tensor, evidence.y, evidence.targets
    if out is None or y is None:
        return None
    last, wide = shared.closing(evidence), max(abs(targets.mean), targets.std) > 10
    if fault == "O5":
        change = changes.losing(shared.squares, "squared error")
        change = change if last is None else change.then(changes.without([last.key], "linear output"))
        return change.then(changes.standardised_targets(evidence.program.examples)) if wide else change
    if fault == "O3":
        return changes.through(torch.sigmoid, "sigmoid at the output")
    if targets.exclusive and targets.classes > 2 and out.ndim > 1 and out.shape[-1] < targets.classes:
        return widened(evidence, targets.classes)
    classes = out.shape[shared.class_axis(evidence)] if out.ndim > 1 else 1
    tries: list[tuple[Callable[[Tensor], Tensor], str]] = [
        (lambda v: v.float(), "targets as floats"), (lambda v: v.long(), "targets as indices"),
        (lambda v: v.float().reshape(len(v), *out.shape[1:]), "targets in the outputs' shape"),
        (lambda v: v.reshape(len(v)).long(), "targets as indices, an axis "
                                             "less"), (lambda v: v.argmax(1), "indices of one-hot rows"),
        (lambda v: F.one_hot(v.long().reshape(len(v)), classes).float(), "one-hot targets"),
        (lambda v: (v - v.min()).long().reshape(len(v)), "classes counted from 0"),
        (lambda v: _unit(v).reshape(len(v), *out.shape[1:]), "targets as 0 and 1"),
    ]  # fmt: skip
    for function, name in tries:
        try:
            turned = function(y)
        except (RuntimeError, IndexError, ValueError):
            continue
        if turned.numel() and torch.isfinite(torch.tensor(shared.loss_at(evidence, out.detach(), turned))):
            return changes.answers(function, name)
    return None


def _unit(v: Tensor) -> Tensor:
    return (v - v.min()).float() / (v.max() - v.min()).clamp(min=1)
