"""A2, dead ReLU units; A3, saturated sigmoid or tanh units.

    dead: relu(z_u(x)) = 0 for every x  ⟹  ∂L/∂w_u = 0 exactly      saturated: σ'(z) < 0.01, |z| > 4.6 (tanh: |z| > 3)

Lu et al. 2019, "Dying ReLU and initialization"; Glorot & Bengio 2010, "Understanding the difficulty of training deep
feedforward neural networks".
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from convscope.checks._sites import again, ancestors, line, place
from convscope.diagnosing.calls import Call, instead
from convscope.diagnosing.changes import calling, drawn
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.suspicion import EXACT, HINT, LIKELY, STRONG, Suspicion
from convscope.fields import param, validate


@dataclass(frozen=True)
class Units:
    """Are there hidden units that no gradient can reach: dead ReLUs, saturated sigmoids?

    Shares from 0 to 1, on the batch (B, …) at the begin of training and after the trial, in evaluation mode. A map's channel
    is dead where it is zero at every position. A few dead units are normal (a third is common); a layer that is wholly dead
    cuts the network in two. Misleads where a ReLU is meant to be silent on this batch (a gate, mixtures of experts).
    Errors: none. Source: Lu et al. 2019, "Dying ReLU and initialization"; Glorot & Bengio 2010.

    >>> from convscope.diagnosing import given
    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    >>> _ = torch.nn.init.constant_(net[0].bias, -100.0)
    >>> data = (torch.randn(16, 4), torch.arange(16) % 2)
    >>> [s.fault for s in Units()(Evidence(given.program(net, data, "cross-entropy", epochs=1)))]
    ['A2']
    """

    needs: ClassVar[str] = "program"
    dead: float = param(0.9, "share of a layer's units that may be dead before it is said", low=0.01, high=1)
    saturated: float = param(0.5, "share of a layer's values whose derivative may be under 0.01", low=0.01, high=1)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, evidence: Evidence) -> Iterator[Suspicion]:
        if evidence.tensor is None or not evidence.calls:
            return
        reach = ancestors(evidence)
        hidden = [
            c
            for i, c in enumerate(evidence.calls)
            if i in reach and c not in evidence.tail and any(k >= 0 for k in c.inputs)
        ]
        before = _shares(evidence.calls)
        trained = evidence.trial.program
        got = None if trained is None else again(trained, evidence.x)
        after = {} if got is None else _shares(got[1].calls)
        relus = [c for c in hidden if c.op == "relu"]
        bad = [c for c in relus if max(before.get(c.key, 0.0), after.get(c.key, 0.0)) >= self.dead]
        if bad:
            yield self._dead(evidence, bad, before, after)
        curved = [c for c in hidden if c.op in ("sigmoid", "tanh") and not _gates(evidence, c)]
        held = [c for c in curved if max(before.get(c.key, 0.0), after.get(c.key, 0.0)) >= self.saturated]
        if held:
            yield self._saturated(evidence, held, before, after)

    def _dead(self, evidence: Evidence, bad: list[Call], before: dict[str, float], after: dict[str, float]) -> Suspicion:
        first = max(bad, key=lambda c: max(before.get(c.key, 0.0), after.get(c.key, 0.0)))
        begin, end = before.get(first.key, math.nan), after.get(first.key, math.nan)
        whole = max(begin, end) == 1.0 and _only(evidence, first)
        raw = (
            float(evidence.x.float().std()) > 10 if evidence.x.numel() > 1 else False
        )  # then the scale of the inputs comes first
        strength = LIKELY if not whole else EXACT if begin == 1.0 and not raw else STRONG if not raw else LIKELY
        remedy = calling({c.key: instead(lambda v: F.leaky_relu(v, 0.1)) for c in bad}, "LeakyReLU for ReLU")
        return Suspicion(
            "A2",
            LIKELY if begin < self.dead else strength,  # what dies in training has a cause before it
            "the output is the same for every input" if whole else "most units of a layer never answer",
            f"{max(begin, end):.0%} of the units of {place(first)} give 0 for every example: no gradient, no waking",
            "draw the weights anew with biases 0, lower the rate, or take LeakyReLU",
            {"dead at the begin": begin, "dead after the trial": end, "threshold": self.dead},
            place(first),
            _code(first, evidence.program.framework, "leaky_relu"),
            "on other examples these units do answer",
            drawn(evidence.seed).then(remedy) if begin >= self.dead else remedy,
            shows=whole,
        )

    def _saturated(
        self, evidence: Evidence, held: list[Call], before: dict[str, float], after: dict[str, float]
    ) -> Suspicion:
        first = held[0]
        begin, end = before.get(first.key, math.nan), after.get(first.key, math.nan)
        source = evidence.calls[next(i for i in first.inputs if i >= 0)].value.detach().float()
        raw = float(evidence.x.float().std()) > 10 if evidence.x.is_floating_point() and evidence.x.numel() > 1 else False
        strength = HINT if begin < self.saturated or evidence.after.learned else LIKELY if raw else STRONG
        return Suspicion(
            "A3",
            strength,
            "learning is slow: a layer hardly passes a gradient",
            f"{max(begin, end):.0%} of the values of {place(first)} lie where {first.op} is flat (derivative < 0.01): "
            f"it is given values of ±{float(source.abs().mean()):.2g}",
            "scale the inputs and the initial weights so that a unit gets values of about 1, or take ReLU",
            {"saturated at the begin": begin, "saturated after the trial": end, "threshold": self.saturated},
            place(first),
            _code(first, evidence.program.framework, "relu"),
            "with weights a tenth as large the layer learns no faster",
            drawn(evidence.seed, gain=1.0).then(
                calling({c.key: instead(torch.relu) for c in held}, "ReLU for saturated units")
            ),
        )


def _shares(calls: list[Call]) -> dict[str, float]:
    """Dead (relu) or saturated (sigmoid, tanh) share by call."""
    found: dict[str, float] = {}
    for call in calls:
        v = call.value.detach()
        if v.is_floating_point() and v.numel() and v.ndim >= 2 and call.op in ("relu", "sigmoid", "tanh"):
            found[call.key] = _dead_share(v) if call.op == "relu" else float((_slope(call.op, v) < 0.01).float().mean())
    return found


def _dead_share(v: Tensor) -> float:
    flat = v if v.ndim == 2 else v.transpose(0, 1).reshape(v.shape[1], -1).T if v.ndim == 4 else v.reshape(-1, v.shape[-1])
    return float((flat == 0).all(0).float().mean()) if len(flat) > 1 else 0.0


def _slope(op: str, v: Tensor) -> Tensor:
    return v * (1 - v) if op == "sigmoid" else 1 - v * v


def _gates(evidence: Evidence, call: Call) -> bool:
    """Multiplied with something else: a gate, which is meant to be open or shut."""
    here = evidence.calls.index(call)
    return any(here in c.inputs and c.op in ("mul", "__mul__", "multiply") for c in evidence.calls)


def _only(evidence: Evidence, call: Call) -> bool:
    """Does every way from the input to the output lead through this call?"""
    last = None if evidence.tensor is None else evidence.first[1].of(evidence.tensor)
    todo, seen = [] if last is None else [evidence.calls.index(last)], set[int]()
    while todo:
        here = todo.pop()
        if here < 0:
            return False
        if here not in seen and evidence.calls[here] is not call:
            seen.add(here)
            todo.extend(evidence.calls[here].inputs)
    return True


def _code(call: Call, framework: str, new: str) -> str:
    if framework == "keras":
        return f'- {call.name.split(">")[0]}: activation="{call.op}"\n+ {call.name.split(">")[0]}: activation="{new}"'
    made = {"relu": "nn.ReLU()", "leaky_relu": "nn.LeakyReLU(0.1)"}[new]
    return line(call, f"x = F.{new}(x)" if f"{call.op}(" in call.text and "F." in call.text else made)
