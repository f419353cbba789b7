"""Activations, dropout and batch norm where they do harm: on logits, on answers, in place of a hidden ReLU.

    ReLU on logits:  z ≤ 0 ⟹ ∂L/∂z = 0: a class pushed below 0 is never raised again; all at 0 is the loss ln C
    tanh on logits:  they differ by 2 at most: −ln p_y ≥ ln(1 + (C − 1) e⁻²);  sigmoid: by 1, ln(1 + (C − 1) e⁻¹)
    softmax over U hidden units: Σ_u h_u = 1, so the values are about 1/U and their differences smaller still
    dropout on the answer: a share p of the outputs is 0 and the rest too large by 1/(1 − p)

Humbatova et al. 2020, "Taxonomy of real faults in deep learning systems" (wrong activation, misplaced layers).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch

from convscope.checks import _output as shared
from convscope.diagnosing import changes
from convscope.diagnosing.calls import WEIGHTED, Call, instead
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.suspicion import EXACT, HINT, LIKELY, STRONG, Suspicion
from convscope.fields import param, validate

CARRIED = ("dropout", "max_pool1d", "max_pool2d", "avg_pool1d", "avg_pool2d", "adaptive_avg_pool2d", "mean", "batch_norm",
           "layer_norm", "max_pool2d_with_indices", "adaptive_avg_pool1d", "boolean_dispatch")  # fmt: skip


@dataclass(frozen=True)
class Placement:
    """Does an activation, a dropout or a norm stand where it does harm?

    Formula: the calls behind the last weights, and those between two layers with weights, read off one forward pass (B, …).
    A softmax that multiplies other values (attention, a gate) is none between layers, and is passed over.
    Misleads: a ReLU on logits may learn for all that, and a small dropout on the answers too: then it is advice.
    Errors: none. Source: Humbatova et al. 2020.

    >>> from torch import nn
    >>> from convscope.diagnosing import given
    >>> net = nn.Sequential(nn.Linear(3, 8), nn.Softmax(dim=1), nn.Linear(8, 4))
    >>> program = given.program(net, (torch.rand(8, 3), torch.arange(8) % 4), "cross-entropy")
    >>> [(s.fault, s.where) for s in Placement()(Evidence(program))]
    [('O10', '1')]
    """

    needs: ClassVar[str] = "program"
    drop: float = param(0.01, "share of the answers that dropout may set to 0", low=0, high=1)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, evidence: Evidence) -> Iterator[Suspicion]:
        if evidence.tensor is None:
            return
        last = shared.closing(evidence)
        if last is not None and evidence.loss.reads == "logits" and evidence.tensor.ndim > 1:
            yield from self._on_logits(evidence, last)
        yield from self._between(evidence)
        yield from self._twice(evidence)
        yield from self._dropped(evidence)
        yield from self._normed(evidence)

    def _on_logits(self, evidence: Evidence, last: Call) -> Iterator[Suspicion]:
        assert evidence.tensor is not None
        classes, relu = evidence.tensor.shape[shared.class_axis(evidence)], last.op == "relu"
        bound = {"tanh": 2.0, "softsign": 2.0, "sigmoid": 1.0}.get(last.op)
        binary = evidence.loss.family == "bce logits"
        if not relu and (bound is None or (binary and last.op == "sigmoid")):
            return  # a sigmoid before a loss that applies one is told by `double_softmax`
        others = 1 if binary else (classes - 1) * math.exp(1 - (bound or 0))
        floor = 0.0 if bound is None else math.log1p(others * math.exp(-1))
        zeros = float((last.value == 0).float().mean())
        poor = shared.struggles(evidence)
        yield Suspicion(
            "O10", EXACT if bound else STRONG if poor or zeros > 0.9 else LIKELY,
            f"the loss comes to a stop near "
            f"{floor:.2f}" if bound else "some classes are never predicted, or all outputs are 0",
            f"a {last.op} stands between the last layer and the loss, which reads logits of any size: " + (
                f"bounded, they differ by {bound:g} at most, so that no answer can be sure" if bound else
                f"where the {last.op} gives 0 no gradient passes ({zeros:.0%} of the logits at the begin)"),
            "give the loss the values of the last layer as they are",
            {"lowest loss within reach": floor, "share of logits at exactly 0": zeros, "allowed": 0.0},
            shared.place(last), shared.lines(evidence, last, ""), "logits beyond what the activation gives",
            changes.without([last.key], "logits to the loss"), harmless=relu and not poor and zeros < 0.9, shows=bool(bound),
        )  # fmt: skip

    def _between(self, evidence: Evidence) -> Iterator[Suspicion]:
        behind = {id(c) for c in evidence.tail}
        found = [c for i, c in enumerate(evidence.calls) if c.op == "softmax" and id(c) not in behind
                 and c.value.shape[shared.axis_of(c)] > 1 and _feeds_a_layer(evidence, i)]  # fmt: skip
        if not found:
            return
        width = found[0].value.shape[shared.axis_of(found[0])]
        yield Suspicion(
            "O10", STRONG, "the loss is flat near that of a constant answer, and learning does not begin",
            f"{len(found)} hidden softmax: its {width} values add up to 1, so each is about {1 / width:.2g} and they "
            "hardly differ; what the next layer gets is nearly the same for every example, and the gradient is as faint",
            "a ReLU between layers; a softmax is for the output", {
                "hidden softmax calls": len(found), "allowed": 0, "units that share the sum 1": width,
                "spread of its values": float(found[0].value.detach().float().std())},
            shared.place(found[0]), "\n".join(shared.lines(evidence, c, "relu") for c in found[:4]),
            "it weighs other values (attention, a gate), and does not feed a layer",
            changes.calling({c.key: instead(torch.relu) for c in found}, "ReLU for the hidden softmax"),
        )  # fmt: skip

    def _twice(self, evidence: Evidence) -> Iterator[Suspicion]:
        for call in evidence.calls:
            before = evidence.calls[call.inputs[0]] if call.inputs and call.inputs[0] >= 0 else None
            pair = before is not None and {call.op, before.op} <= {"sigmoid", "tanh"} and len(call.inputs) == 1
            if pair and before is not None:
                yield Suspicion(
                    "O10", LIKELY, "learning is slow, and answers stay near the middle",
                    f"{call.op} of a {before.op}: what comes in lies in a range of 2 or less, and the derivatives multiply",
                    "leave one of them out", {"activations in a row": 2, "allowed": 1}, shared.place(call),
                    shared.lines(evidence, before, ""), "a layer with weights stands between them",
                    changes.without([before.key], f"without the {before.op} "
                                                  "before"), harmless=not shared.struggles(evidence),
                )  # fmt: skip

    def _dropped(self, evidence: Evidence) -> Iterator[Suspicion]:
        shape = evidence.tensor.shape if evidence.tensor is not None else ()
        found = [c for c in evidence.tail if c.op == "dropout" and c.value.numel() == math.prod(shape)]
        share = max((float(c.settings.get("p", 0.5)) for c in found), default=0.0)
        if found and share > self.drop:
            poor = shared.struggles(evidence)
            yield Suspicion(
                "O10", STRONG if poor else LIKELY, "the training loss is far above that of evaluation, and will not fall",
                f"dropout stands behind the last layer: {share:.0%} of the answers themselves are set to 0 at random, and "
                "no weight "
                "can prevent that error", "leave it out there; dropout belongs before the last layer",
                {"share of the answers dropped": share, "allowed": self.drop}, shared.place(found[-1]),
                shared.lines(evidence, found[-1], ""), "the dropped values go through another layer",
                changes.without([c.key for c in found], "without dropout on the answers"), harmless=not poor,
            )  # fmt: skip

    def _normed(self, evidence: Evidence) -> Iterator[Suspicion]:
        norms = [c for c in evidence.tail if c.op == "batch_norm"]
        if not norms or evidence.targets.kind != "values" or evidence.objective or evidence.loss.problem:
            return
        poor = shared.struggles(evidence)
        yield Suspicion(
            "A11", STRONG if poor else HINT, "predictions shift with the batch, and evaluation differs from training",
            "batch norm stands behind the last layer: mean and spread of every output over the batch are fixed by its own "
            "weights, whatever the batch holds; an answer depends on which others are asked beside it",
            "leave it out behind the last layer", {"norms behind the last weights": len(norms), "allowed": 0},
            shared.place(norms[-1]), shared.lines(evidence, norms[-1], ""), "the answer to an example does not hang on "
                                                                            "its batch",
            changes.without([c.key for c in norms], "without batch norm at the output"), harmless=not poor,
        )  # fmt: skip


def _feeds_a_layer(evidence: Evidence, at: int) -> bool:
    """Does a call's value go into a layer with weights, through nothing but pooling, norms and dropout?"""
    for j, later in enumerate(evidence.calls):
        if at in later.inputs and len(later.inputs) == 1:
            if later.op in WEIGHTED and later.parameters:
                return True
            if later.op in CARRIED and _feeds_a_layer(evidence, j):
                return True
    return False
