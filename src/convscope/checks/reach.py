"""Targets outside the image of the output's activation: whatever the weights, they cannot be answered.

    image: sigmoid, softmax (0, 1) · tanh (−1, 1) · ReLU [0, ∞)
    lowest squared error = mean over targets of d(t, image)²;   R² ≤ 1 − that / var(t)

Humbatova et al. 2020, "Taxonomy of real faults in deep learning systems" (wrong activation of the output layer).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch

from convscope.checks import _output as shared
from convscope.diagnosing import changes
from convscope.diagnosing.calls import Call, instead
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.suspicion import EXACT, LIKELY, STRONG, Change, Suspicion
from convscope.fields import param, validate

WIDE = 10.0  # targets this large want another scale for a linear output at a usual rate
CLASSES = ("one-hot", "indices", "binary", "multi-hot")


@dataclass(frozen=True)
class Reach:
    """Can the output take the values of the targets?

    Formula: the share of the targets' variance that lies outside the activation's image, mean d(t, image)² / var(t), and the
    share of targets there. For classes by probabilities: a ReLU gives more than 1, and exact zeros without a gradient.
    Misleads: where targets are rescaled between the loader and the loss.
    Errors: none. Source: Humbatova et al. 2020.

    >>> from torch import nn
    >>> from convscope.diagnosing import given
    >>> net = nn.Sequential(nn.Linear(3, 1), nn.Sigmoid())
    >>> [s.fault for s in Reach()(Evidence(given.program(net, (torch.rand(8, 3), torch.randn(8, 1)), "mse")))]
    ['O4']
    """

    needs: ClassVar[str] = "program"
    lost: float = param(0.01, "share of the targets' variance that may lie out of reach", low=0, high=1)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, evidence: Evidence) -> Iterator[Suspicion]:
        call, y = shared.closing(evidence), evidence.program.examples.y
        if call is None or y is None or evidence.tensor is None:
            return
        if evidence.targets.kind in CLASSES and call.op == "relu" and evidence.loss.reads != "logits":
            yield from self._classes(evidence, call)
        elif evidence.targets.kind == "values" and evidence.loss.reads not in ("logits", "log-probabilities"):
            yield from self._values(evidence, call)

    def _values(self, evidence: Evidence, call: Call) -> Iterator[Suspicion]:
        y = evidence.program.examples.y
        assert y is not None
        t = y.double().reshape(-1)
        t = t[torch.isfinite(t)]
        low, high = shared.IMAGE[call.op]
        away = torch.zeros_like(t).maximum(low - t).maximum(t - high)
        around = float(t.var(unbiased=False)) if len(t) > 1 else 0.0
        lost, share = float(away.square().mean()) / max(around, 1e-30), float((away > 0).double().mean())
        if around == 0 or lost <= self.lost:
            if call.op == "relu" and _silent(evidence) == 1:
                yield self._dead(evidence, call)
            return
        change = self._linear(evidence, call)
        yield Suspicion(
            "O4", EXACT if lost > 5 * self.lost else LIKELY, "the predictions lie at the edge of what they can be, the "
                                                             "loss stays high",
            f"the output is a {call.op}, which gives {_interval(low, high)}, and {share:.0%} of the targets lie outside: "
            "whatever "
            f"the weights, at least {min(lost, 1):.0%} of the targets' variance stays as error" + (
                "; pushed to its edge the activation is flat, and learning ends" if call.op != "relu" else ""),
            "give the output without an activation" + (", and bring the targets to mean 0 and deviation 1"
                                                       if "standardised" in change.name else ""),
            {"share of targets out of reach": share, "variance out of reach / variance": lost, "allowed": self.lost,
             "lowest target": float(t.min()), "highest target": float(t.max())},
            shared.place(call), shared.lines(evidence, call, ""), f"all targets lie in {_interval(low, high)}",
            change, shows=lost > 5 * self.lost,
        )  # fmt: skip

    def _linear(self, evidence: Evidence, call: Call) -> Change:
        change, targets = changes.without([call.key], "linear output"), evidence.targets
        if max(abs(targets.mean), targets.std) > WIDE:
            change = change.then(changes.standardised_targets(evidence.program.examples))
        if evidence.loss.reads == "probabilities" or evidence.loss.problem:  # a loss of chances refuses quantities
            change = change.then(changes.losing(shared.squares, "squared error"))
        return change

    def _classes(self, evidence: Evidence, call: Call) -> Iterator[Suspicion]:
        several = evidence.targets.exclusive and evidence.tensor is not None and evidence.tensor.shape[-1] > 1
        made = "softmax" if several else "sigmoid"
        axis = shared.class_axis(evidence)
        rule = instead((lambda v: v.softmax(axis)) if several else torch.sigmoid)
        change, silent = changes.calling({call.key: rule}, f"{made} for the ReLU"), _silent(evidence)
        chances = evidence.loss.reads == "probabilities"
        if evidence.loss.family == "mse" and not several:  # for classes its own loss: bounded errors have faint gradients
            change = change.then(changes.losing(shared.of_chances, "binary cross-entropy"))
        yield Suspicion(
            "O4", EXACT if chances else STRONG if shared.struggles(evidence) else LIKELY,
            "one class is predicted for everything, or the loss jumps and stands",
            "the output is a ReLU: below 0 it gives 0 without a gradient, so an example answered by 0 is never corrected"
            + ("; and above 1 it is no probability: the loss clips it, and what is clipped has no gradient "
               "either" if chances else ""),
            f"classes want a {made} at the output",
            {"share of outputs at exactly 0": _zeros(evidence), "units silent for every example": silent, "allowed": 0.0},
            shared.place(call), shared.lines(evidence, call, made), "no output is exactly 0", change,
            harmless=not chances and not shared.struggles(evidence), shows=silent == 1,
        )  # fmt: skip

    def _dead(self, evidence: Evidence, call: Call) -> Suspicion:
        return Suspicion(
            "O4", STRONG, "every prediction is exactly 0, from the start",
            "the output is a ReLU and its values before it are negative for every example: no gradient passes",
            "give the output without an activation", {"units silent for every example": 1.0, "allowed": 0.0},
            shared.place(call), shared.lines(evidence, call, ""), "some output is above "
                                                                  "0", self._linear(evidence, call), shows=True,
        )  # fmt: skip



def _interval(low: float, high: float) -> str:
    return f"{'−∞' if math.isinf(low) else f'{low:g}'} … {'∞' if math.isinf(high) else f'{high:g}'}"


def _zeros(evidence: Evidence) -> float:
    return float((evidence.tensor == 0).float().mean()) if evidence.tensor is not None else 0.0


def _silent(evidence: Evidence) -> float:
    """Share of outputs that are 0 for every example."""
    out = evidence.tensor
    return 0.0 if out is None or not len(out) else float((out.reshape(len(out), -1) == 0).all(0).float().mean())
