"""A8, the scale of the initial weights.

    gain_l = std(W_l) · √fan_in        He (ReLU): √2, Glorot: about 1, torch's own linear layer: 1/√3

Each layer multiplies the spread of its values by about gain (times √½ behind ReLU): 3 or more at every layer makes logits
of hundreds, 1/20 makes them constants. He et al. 2015, "Delving deep into rectifiers"; Glorot & Bengio 2010.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from convscope.checks._sites import place, rows, weight, weighted
from convscope.diagnosing.calls import NORMS, Call
from convscope.diagnosing.changes import drawn
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.suspicion import HINT, LIKELY, STRONG, Suspicion
from convscope.fields import param, validate


@dataclass(frozen=True)
class StartScale:
    """Are the initial weights as large as their fan-in asks for?

    Formula: gain = std(W)·√fan_in for W (units, fan-in); and the loss at the begin over that of the best constant answer;
    both ratios without unit. Misleads: behind a norm the scale of the weights is divided out, and a wide start costs
    little: then it is a hint. Pretrained weights may be anything. Inputs that are not scaled raise the first loss too, but
    not the gain.
    Errors: none. Source: He et al. 2015, "Delving deep into rectifiers".

    >>> import torch
    >>> from convscope.diagnosing import given
    >>> net = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 2))
    >>> for layer in (net[0], net[2]): _ = torch.nn.init.normal_(layer.weight, std=1.0)
    >>> data = (torch.randn(16, 64), torch.arange(16) % 2)
    >>> [s.fault for s in StartScale()(Evidence(given.program(net, data, "cross-entropy")))]
    ['A8']
    """

    needs: ClassVar[str] = "program"
    wide: float = param(3.0, "gain over which weights are too large: twice He's", low=0)
    narrow: float = param(0.1, "gain under which weights are too small", low=0)
    shrink: float = param(0.01, "spread of the last layer's values over the first's, under which they die out", low=0)
    worse: float = param(3.0, "first loss over the best constant's, from which the start itself is a symptom", low=1)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, evidence: Evidence) -> Iterator[Suspicion]:
        found: list[tuple[Call, str, float]] = []
        for call in weighted(evidence):
            got = weight(call, evidence.twin) if call.op in ("linear", "conv") else None
            if got is not None and (gain := _gain(rows(got[1].detach(), evidence.program))) > 0:
                found.append((call, got[0], gain))
        if not found:
            return
        constant = evidence.loss.constant
        ratio = evidence.start / constant if math.isfinite(constant) and constant > 0 else math.nan
        wide = [f for f in found if f[2] > self.wide]
        shrunk = _shrunk(evidence, [c for c, _, _ in found])
        narrow = [f for f in found[:-1] if f[2] < self.narrow or (shrunk < self.shrink and f[2] < math.sqrt(2))]
        if wide:
            yield self._suspicion(
                evidence,
                wide,
                found,
                {"gain": max(w[2] for w in wide), "threshold": self.wide, "first loss over the constant's": ratio},
                True,
            )
        elif narrow:
            yield self._suspicion(
                evidence,
                narrow,
                found,
                {
                    "gain": min(n[2] for n in narrow),
                    "threshold": self.narrow,
                    "spread of the last layer over the first": shrunk,
                },
                False,
            )

    def _suspicion(self, evidence: Evidence, bad: list[tuple[Call, str, float]], every: list[tuple[Call, str, float]],
                   numbers: dict[str, float | str], wide: bool) -> Suspicion:  # fmt: skip
        normed = sum(_normed(evidence, c) for c, _, _ in bad)
        classes = evidence.loss.classifies
        ratio = numbers.get("first loss over the constant's")
        high = wide and classes and isinstance(ratio, float) and ratio > self.worse
        most = len(bad) >= max(1, len(every) // 2)
        strength = (
            HINT
            if normed == len(bad)
            else HINT
            if not wide and evidence.after.learned
            else STRONG
            if high or (most and not wide)
            else LIKELY
            if most or wide
            else HINT
        )
        call, name, gain = bad[0]
        return Suspicion(
            "A8",
            strength,
            "the loss begins far above that of a constant answer"
            if wide
            else "the output hardly depends on the input at the begin",
            f"the weights of {len(bad)} of {len(every)} layers are too {'large' if wide else 'small'}: std(W)·√fan_in = "
            f"{gain:.2g} at {call.name}, and every such layer {'blows up' if wide else 'shrinks'} the spread of its values",
            "draw the weights with a standard deviation of √(2 / fan-in) (He), or 1/√fan-in for tanh",
            {**numbers, "layers": float(len(bad)), "of them behind which a norm stands": float(normed)},
            place(call),
            f'- {call.name}: kernel_initializer=RandomNormal(…)\n+ {call.name}: kernel_initializer="he_normal"'
            if evidence.program.framework == "keras"
            else f"- nn.init.normal_({name}, …)\n+ nn.init.kaiming_normal_({name}, nonlinearity='relu')",
            "the weights are a trained network's" if wide else "the spread of every layer's values is near 1",
            drawn(evidence.seed, only=tuple(n for _, n, _ in bad)),
            harmless=normed == len(bad),
        )


def _gain(units: Tensor) -> float:
    return float(units.float().square().mean().sqrt()) * math.sqrt(units.shape[1])


def _shrunk(evidence: Evidence, layers: list[Call]) -> float:
    """The spread of the last layer's values over that of the first's, at the begin; infinite with fewer than four layers."""
    std = {s.name: s.std for s in evidence.signals}
    first, last = std.get(layers[0].name, 0.0), std.get(layers[-1].name, math.nan)
    return last / first if len(layers) > 3 and first > 0 else math.inf


def _normed(evidence: Evidence, call: Call) -> bool:
    """Does a norm divide the scale of this call's values out again?"""
    here = evidence.calls.index(call)
    follow = [c for c in evidence.calls if here in c.inputs]
    return bool(follow) and all(c.op in NORMS or (c.op == "mean" and evidence.program.framework == "keras") for c in follow)
