"""Softmax of a softmax: probabilities are taken for logits, which then lie in 0 … 1 and can differ by 1 at most.

    q = softmax(p),  p ∈ simplex:   −ln q_y ≥ ln(e + C − 1) − 1        (p one-hot at y; 1.46 for C = 10, not 0)
    for a sigmoid given to a loss that applies one: −ln σ(1) = 0.313 for a yes, −ln(1 − σ(0)) = ln 2 for a no
    ∂L/∂z passes two Jacobians diag(p) − p pᵀ: beyond the begin of training it is several times too small

Humbatova et al. 2020, "Taxonomy of real faults in deep learning systems" (redundant softmax).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from convscope.checks import _output as shared
from convscope.diagnosing import changes
from convscope.diagnosing.calls import Call
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.suspicion import EXACT, Suspicion
from convscope.fields import param, validate


@dataclass(frozen=True)
class DoubleSoftmax:
    """Is a softmax applied to what is a softmax already?

    Formula: the loss applies one if L(o + c) = L(o) for a number c for each example; the network did if the rows of its
    output (B, C) are not negative and add up to 1. The lowest loss is then ln(e + C − 1) − 1 nats instead of 0. A sigmoid
    before a loss that applies one is the same fault for yes-or-no outputs.
    Misleads: accuracy may still be good. (log_softmax before cross-entropy changes nothing, and is passed over.)
    Errors: none. Source: Humbatova et al. 2020.

    >>> from torch import nn
    >>> from convscope.diagnosing import given
    >>> net = nn.Sequential(nn.Linear(3, 4), nn.Softmax(dim=1))
    >>> program = given.program(net, (torch.rand(8, 3), torch.arange(8) % 4), "cross-entropy")
    >>> [s.fault for s in DoubleSoftmax()(Evidence(program))]
    ['O2']
    """

    needs: ClassVar[str] = "program"
    slack: float = param(1e-3, "how far a row of probabilities may be from adding up to 1", low=0, high=0.1)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, evidence: Evidence) -> Iterator[Suspicion]:
        out, last = evidence.tensor, shared.closing(evidence)
        if out is None:
            return
        if evidence.loss.family == "bce logits" and last is not None and last.op == "sigmoid":
            yield self._of_sigmoids(evidence, last)
        if out.ndim < 2:
            return
        axis = shared.class_axis(evidence)
        soft = [c for c in evidence.tail if c.op == "softmax" and shared.sums_to_one(c.value, min(axis, c.value.ndim - 1))]
        if evidence.loss.applies_softmax and shared.sums_to_one(out, axis, self.slack):
            yield self._of_classes(evidence, out.shape[axis], last)
        elif len(soft) > 1 and last is soft[-1]:
            yield self._in_the_network(evidence, out.shape[axis], soft[-1])

    def _of_classes(self, evidence: Evidence, classes: int, last: Call | None) -> Suspicion:
        floor = math.log(math.e + classes - 1) - 1
        mend = changes.without([last.key], "logits to the "
                                           "loss") if last is not None and last.op == "softmax" else changes.wrapping(
            shared.each(_log), "log of the probabilities to the loss")  # fmt: skip
        return Suspicion(
            "O2", EXACT, f"the loss comes to a stop near {floor:.2f} and learning is slow",
            "the network ends in a softmax and the loss applies another: it takes probabilities for logits, which then "
            "differ by "
            "1 at most, so even the right answer, given for sure, keeps a loss, and the gradient is flattened twice",
            "give the loss the logits: leave the softmax out of the network, and take it where probabilities are shown",
            {"lowest loss within reach": floor, "lowest loss of the task": 0.0, "rows add up to": 1.0, "classes": classes},
            shared.place(last), shared.lines(evidence, last, ""),
            "some row of the outputs does not add up to 1, or the loss reads probabilities", mend, shows=True,
        )  # fmt: skip

    def _in_the_network(self, evidence: Evidence, classes: int, last: Call) -> Suspicion:
        top = math.e / (math.e + classes - 1)
        return Suspicion(
            "O2", EXACT, f"no class ever gets a probability above {top:.2f}",
            "the network applies a softmax to the outputs of a softmax", "leave one of them out",
            {"highest probability within reach": top, "softmax calls behind the last layer": 2},
            shared.place(last), shared.lines(evidence, last, ""),
            "a probability above that", changes.without([last.key], "one softmax"), shows=True,
        )  # fmt: skip

    def _of_sigmoids(self, evidence: Evidence, last: Call) -> Suspicion:
        yes, no = math.log(1 + math.exp(-1)), math.log(2)
        share = evidence.targets.mean if evidence.targets.kind in ("binary", "multi-hot", "one-hot") else 0.5
        return Suspicion(
            "O2", EXACT, f"the loss comes to a stop near {share * yes + (1 - share) * no:.2f}",
            "the network ends in a sigmoid and the loss applies another: a sure no is read as the logit 0, which means "
            "one half",
            "give the loss the logits: leave the sigmoid out of the network, or take the loss that reads probabilities",
            {"lowest loss of a yes": yes, "lowest loss of a no": no, "lowest loss of the task": 0.0},
            shared.place(last), shared.lines(evidence, last, ""),
            "outputs below 0 or above 1", changes.without([last.key], "logits to the loss"), shows=True,
        )  # fmt: skip


def _log(p: Tensor) -> Tensor:
    return p.clamp(min=torch.finfo(p.dtype).tiny).log()
