"""A4, gradients that vanish towards the input; A5, gradients that grow.

    g_l = ‖∂L/∂W_l‖ / ‖W_l‖          g_first / g_last falls as the product of the factors ‖W_lᵀ diag σ'(z_l)‖ between them

Each sigmoid passes on at most a quarter. Hochreiter 1991; Bengio et al. 1994, "Learning long-term dependencies with
gradient descent is difficult"; Glorot & Bengio 2010.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch

from convscope.checks._sites import ancestors, line, place, weight, weighted
from convscope.diagnosing.calls import NORMS, Call, instead
from convscope.diagnosing.changes import calling, drawn
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.suspicion import HINT, LIKELY, STRONG, Change, Suspicion
from convscope.fields import param, validate


@dataclass(frozen=True)
class Depth:
    """Does the gradient vanish, or grow, on its way back through the layers?

    Formula: (‖∂L/∂W₁‖/‖W₁‖) / (‖∂L/∂W_L‖/‖W_L‖), a ratio without unit, on the batch (B, …) at the begin; beside it the
    standard deviation of each layer's values. Three layers with weights or more. Misleads: an optimiser that divides by the
    gradient's size (Adam) bears more of it than SGD; behind a norm the ratio says less. Gradients that are 0 throughout are
    other faults.
    Errors: none. Source: Glorot & Bengio 2010; Bengio et al. 1994.

    >>> from convscope.diagnosing import given
    >>> deep = [m for _ in range(9) for m in (torch.nn.Linear(6, 6), torch.nn.Sigmoid())]
    >>> net = torch.nn.Sequential(*deep, torch.nn.Linear(6, 2))
    >>> [s.fault for s in Depth()(Evidence(given.program(net, (torch.randn(16, 6), torch.arange(16) % 2), "cross-entropy")))]
    ['A4']
    """

    needs: ClassVar[str] = "program"
    vanished: float = param(
        1e-3, "first layer's relative gradient over the last's, under which it has vanished", low=0, high=1
    )
    grown: float = param(1e3, "the same ratio over which the gradient explodes", low=1)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, evidence: Evidence) -> Iterator[Suspicion]:
        relative = _relative(evidence)
        if len(relative) < 3:
            return
        (first, a), (last, b) = relative[0], relative[-1]
        if not (a > 0 and b > 0 and math.isfinite(a) and math.isfinite(b)):
            return  # no gradient at all: dead units, a cut graph, or a loss that is not finite
        ratio = a / b
        numbers: dict[str, float | str] = {
            "first over last relative gradient": ratio,
            f"relative gradient of {first.name}": a,
            f"relative gradient of {last.name}": b,
        }
        if ratio < self.vanished:
            yield self._vanishing(evidence, relative, numbers)
        elif ratio > self.grown:
            yield self._exploding(evidence, relative, numbers)

    def _vanishing(
        self, evidence: Evidence, relative: list[tuple[Call, float]], numbers: dict[str, float | str]
    ) -> Suspicion:
        reach = ancestors(evidence)
        curved = [c for i, c in enumerate(evidence.calls)
                  if i in reach and c.op in ("sigmoid", "tanh", "softmax") and c not in evidence.tail]  # fmt: skip
        at = min(range(1, len(relative)), key=lambda i: relative[i - 1][1] / max(relative[i][1], 1e-300))
        last = relative[-1][1]
        bad = next((c for c, g in reversed(relative) if g < self.vanished * last), relative[0][0])
        change = drawn(evidence.seed)
        if curved:
            change = calling({c.key: instead(torch.relu) for c in curved}, f"ReLU for {curved[0].op}").then(change)
        normed = any(c.op in NORMS for c in evidence.calls)
        return Suspicion(
            "A4",
            HINT if normed else STRONG if curved else LIKELY,
            "the loss is flat, and the first layers stay as they were drawn",
            f"the gradient shrinks on its way back to {relative[0][0].name}: "
            + (
                f"{len(curved)} {curved[0].op} layers pass on a part of it each"
                if curved
                else "the weights are too small for the depth"
            )
            + f"; the largest step down is between {relative[at][0].name} and {relative[at - 1][0].name}",
            "ReLU with weights drawn by fan-in (He), normalisation between the layers, or skip connections",
            {**numbers, "threshold": self.vanished},
            place(bad),
            _code(curved, evidence.program.framework)
            if curved
            else "+ nn.init.kaiming_normal_(layer.weight)  # every layer",
            "the first layers' weights move as far as the last's",
            change,
        )

    def _exploding(
        self, evidence: Evidence, relative: list[tuple[Call, float]], numbers: dict[str, float | str]
    ) -> Suspicion:
        last = relative[-1][1]
        bad = next((c for c, g in reversed(relative) if g > self.grown * last), relative[0][0])
        change: Change = drawn(evidence.seed)
        normed = any(c.op in NORMS for c in evidence.calls)
        return Suspicion(
            "A5",
            HINT if normed else LIKELY,
            "the loss jumps, or becomes NaN",
            f"the gradient grows on its way back to {relative[0][0].name}: the weights are too large for the depth",
            "draw the weights by fan-in, clip the gradient's norm, or normalise between the layers",
            {**numbers, "threshold": self.grown},
            place(bad),
            "+ torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)  # before optimizer.step()",
            "the norms of the gradients stay alike over the depth when the rate is small",
            change,
        )


def _relative(evidence: Evidence) -> list[tuple[Call, float]]:
    """(layer, ‖∂L/∂W‖ / ‖W‖) along the way to the output, for what gets a gradient."""
    reach, found, seen = ancestors(evidence), list[tuple[Call, float]](), set[str]()
    layers = [
        c
        for c in weighted(evidence)
        if evidence.calls.index(c) in reach and c.op in ("linear", "conv", "lstm", "gru", "rnn")
    ]
    for call in layers:
        got = weight(call, evidence.twin)
        if got is None or got[0] in seen:
            continue
        seen.add(got[0])
        g = evidence.gradients.get(got[0])
        size = float(got[1].detach().double().norm())
        if g is not None and size > 0:
            found.append((call, g / size))
    return found


def _code(curved: list[Call], framework: str) -> str:
    if framework == "keras":
        return "\n".join(
            f'- {c.name.split(">")[0]}: activation="{c.op}"\n+ {c.name.split(">")[0]}: activation="relu"' for c in curved
        )
    return "\n".join(line(c, "x = F.relu(x)" if c.text else "nn.ReLU()") for c in curved)
