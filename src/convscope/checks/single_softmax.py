"""Softmax over a single unit: e^z / e^z = 1, whatever z; and no gradient passes it.

    p₁ = exp(z₁) / Σ_{k=1}^{1} exp(z_k) = 1,   ∂p₁/∂z₁ = p₁ (1 − p₁) = 0

Cao et al. 2022, "DeepFD: automated fault diagnosis and localization for deep learning programs".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch

from convscope.checks import _output as shared
from convscope.diagnosing import changes
from convscope.diagnosing.calls import Call, instead
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.suspicion import EXACT, STRONG, Change, Suspicion
from convscope.fields import validate

WIDE = 10.0  # targets this large need another scale before a linear output can learn them at a usual rate


@dataclass(frozen=True)
class SingleSoftmax:
    """Is a softmax taken over an axis of width 1?

    Formula: exp(z) / Σ exp(z) over one unit is 1 for every z. Read off the shapes of the calls (B, …) of one forward pass;
    a loss that takes the softmax itself is asked: it is the same whatever the outputs.
    Misleads: where the width is 1 by chance of the data (one candidate to choose from), and other batches are wider.
    Errors: none. Source: Cao et al. 2022.

    >>> from torch import nn
    >>> from convscope.diagnosing import given
    >>> net = nn.Sequential(nn.Linear(3, 1), nn.Softmax(dim=1))
    >>> [s.fault for s in SingleSoftmax()(Evidence(given.program(net, (torch.rand(8, 3), torch.rand(8, 1)), "mse")))]
    ['O1']
    """

    needs: ClassVar[str] = "program"

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, evidence: Evidence) -> Iterator[Suspicion]:
        found = [c for c in evidence.calls if c.op in ("softmax", "log_softmax") and width(c) == 1]
        last = [c for c in found if any(c is t for t in evidence.tail)]
        if last:
            yield self._closing(evidence, last[-1])
        elif found:
            yield self._hidden(evidence, found)
        elif self._in_the_loss(evidence):
            yield self._loss(evidence)

    def _closing(self, evidence: Evidence, call: Call) -> Suspicion:
        kind, change = _instead(evidence, call)
        always = "1" if call.op == "softmax" else "0"
        return Suspicion(
            "O1", EXACT, f"the output is {always} for every example, and the loss stands still",
            f"{call.op} is taken over an axis of width 1: e^z / e^z is 1 whatever the network computes, and its "
            "derivative is 0, so no gradient reaches any weight",
            {"sigmoid": "one unit for yes or no wants a sigmoid, and binary cross-entropy",
             "": "give the value of the last layer as it is: "
                 + ("the loss applies the sigmoid "
                    "itself" if evidence.loss.reads == "logits" else "a quantity wants a linear output")
                 + (", and targets brought to mean 0 and deviation 1" if "standardised" in change.name else "")}[kind],
            {"units under the softmax": 1, "spread of the outputs": _spread(evidence), "spread needed": "> 0"},
            shared.place(call), shared.lines(evidence, call, kind),
            "the outputs of two different examples differ", change, shows=True,
        )  # fmt: skip

    def _hidden(self, evidence: Evidence, found: list[Call]) -> Suspicion:
        keys = [c.key for c in found]
        return Suspicion(
            "O1", STRONG, "a layer gives 1 for every example",
            "a softmax inside the network is taken over an axis of width 1: what comes before it cannot matter",
            "take it over the axis of the units, or leave it out", {"calls": len(found), "units under the softmax": 1},
            shared.place(found[0]), shared.lines(evidence, found[0], ""),
            "the values behind it differ between examples", changes.without(keys),
        )  # fmt: skip

    def _in_the_loss(self, evidence: Evidence) -> bool:
        out, targets = evidence.tensor, evidence.targets
        narrow = out is not None and out.ndim > 1 and out.shape[shared.class_axis(evidence)] == 1
        return narrow and not found_softmax(evidence) and targets.kind == "binary" and shared.says_nothing(evidence)

    def _loss(self, evidence: Evidence) -> Suspicion:
        return Suspicion(
            "O1", EXACT, "the loss is the same from the first step, and accuracy that of a constant answer",
            "the loss takes a softmax over the classes, and there is one output: the softmax of a single unit is always 1",
            "one unit for yes or no wants binary cross-entropy",
            {"outputs": 1, "loss for any output": evidence.start}, "loss",
            "- nn.CrossEntropyLoss()\n+ nn.BCEWithLogitsLoss()  # targets as floats, of the outputs' shape",
            "the loss of two different outputs "
            "differs", changes.losing(shared.of_logits, "binary cross-entropy on the logit"), shows=True,
        )  # fmt: skip


def width(call: Call) -> int:
    """Units under a softmax; its axis is guessed as torch does where none was given."""
    v = call.value
    axis = shared.axis_of(call)
    return v.shape[axis] if v.ndim > axis else 1


def found_softmax(evidence: Evidence) -> bool:
    """Does the network take one itself?"""
    return any(c.op in ("softmax", "log_softmax") for c in evidence.tail)


def _instead(evidence: Evidence, call: Call) -> tuple[str, Change]:
    """A sigmoid for yes or no, nothing for a quantity; with another loss where this one says nothing of one unit."""
    targets = evidence.targets
    if targets.kind == "values" and not (targets.low >= 0 and targets.high <= 1 and evidence.loss.family == "bce"):
        change = changes.without([call.key], "linear output")
        if max(abs(targets.mean), targets.std) > WIDE and evidence.program.examples.y is not None:
            change = change.then(changes.standardised_targets(evidence.program.examples))
        heard = not shared.says_nothing(evidence)
        return "", change if heard else change.then(changes.losing(shared.squares, "squared error"))
    rules = {call.key: instead(torch.sigmoid)}
    if shared.says_nothing(evidence):  # a categorical loss of one unit: 0 whatever it is
        return "sigmoid", changes.calling(rules, "sigmoid").then(changes.losing(shared.of_chances, "binary cross-entropy"))
    if evidence.loss.reads == "logits":
        return "", changes.without([call.key], "the logit to the loss")
    return "sigmoid", changes.calling(rules, "sigmoid for the softmax")


def _spread(evidence: Evidence) -> float:
    out = evidence.tensor
    return 0.0 if out is None or out.numel() < 2 else float(out.detach().float().std(unbiased=False))
