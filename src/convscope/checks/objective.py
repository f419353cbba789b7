"""A loss f(output) without targets: can its optimum be reached through what stands at the output?

    batch norm at the output: v = γ ẑ + β, mean β and spread γ of every unit over the batch, whatever the network computes;
    its backward pass takes the gradient's mean over the batch and its part along v̂ away:
        ∂L/∂z ∝ P g,   P g = g − mean(g) − v̂ · mean(g v̂)      (Ioffe & Szegedy 2015)
    where all examples want the same, g is the same for all of them, and P g = 0: nothing is left for the network
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch

from convscope.checks import _output as shared
from convscope.checks._replay import descend, passed, replayed
from convscope.diagnosing import changes
from convscope.diagnosing.calls import identity
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.suspicion import HINT, LIKELY, STRONG, Suspicion
from convscope.fields import param, validate

BOUNDED = ("tanh", "sigmoid", "softsign", "softmax", "relu")


@dataclass(frozen=True)
class Objective:
    """Can a loss of the output alone be brought down through what ends the network?

    Formula: the lowest loss by descent on the values (B, …) that the last layer hands to what stands behind it, as it is,
    without the norms there, and with free outputs; and the share ‖P g‖ / ‖g‖ of the gradient that a batch norm lets through.
    Misleads: a norm that keeps outputs from collapsing is there on purpose; a descent gives an upper bound of the optimum.
    Errors: none. Source: Ioffe & Szegedy 2015, "Batch normalization".

    >>> from torch import nn
    >>> from convscope.diagnosing import given
    >>> net = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.BatchNorm1d(4))
    >>> program = given.program(net, torch.randn(32, 4), lambda output: (output - 0.8).square().mean())
    >>> [s.fault for s in Objective()(Evidence(program))]
    ['A11']
    """

    needs: ClassVar[str] = "program"
    gap: float = param(0.1, "share of the way down that may be out of reach", low=0, high=1)
    steps: int = param(60, "steps of a descent at most", low=1)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, evidence: Evidence) -> Iterator[Suspicion]:
        out = evidence.tensor
        if not evidence.objective or out is None or out.ndim < 2 or evidence.loss.problem:
            return
        if len(out) < 2 or not out.is_floating_point() or not math.isfinite(evidence.start):
            return
        free, best = descend(evidence, lambda o: o, out.detach(), self.steps)
        unbounded = shared.loss_at(evidence, 10 * best) < free - 0.01 * abs(evidence.start - free)
        if not evidence.tail:
            if unbounded:
                yield _endless(evidence, free)
            return
        layer = shared.weighted(evidence)
        if layer is None:
            return
        again = functools.partial(replayed, evidence, layer.key)
        z = layer.value.detach()
        try:
            if not torch.allclose(again({}, z), out.detach(), 1e-3, 1e-4):
                return  # something random, or the layer is called in another way: nothing can be said exactly
        except Exception:  # noqa: BLE001 - the user's own forward may refuse made-up values; then nothing can be said
            return
        norms = [c.key for c in evidence.tail if c.op == "batch_norm"]
        bounded = [c.key for c in evidence.tail if c.op in BOUNDED]
        bare, _ = descend(evidence, functools.partial(again, dict.fromkeys(norms, identity)), z, self.steps)
        if norms:
            here, _ = descend(evidence, functools.partial(again, {}), z, self.steps)
            told = list(self._normed(evidence, norms, (here, bare), passed(evidence, norms[-1], again, z)))
            if not told and here - free > self.gap * abs(evidence.start - free):
                told = [self._fixed(evidence, norms, bounded, (here, free))]
            yield from told
        if bounded and not unbounded and bare - free > self.gap * abs(evidence.start - free):
            yield self._bounded(evidence, norms, bounded, (bare, free))

    def _normed(self, evidence: Evidence, norms: list[str], lows: tuple[float, float], share: float) -> Iterator[Suspicion]:
        here, bare = lows
        way = evidence.start - bare
        lost = (here - bare) / way if way > 0 else 0.0
        if not lost > self.gap and not share < self.gap:
            return
        call = next(c for c in evidence.tail if c.key == norms[-1])
        yield Suspicion(
            "A11", STRONG if lost > self.gap else LIKELY, "the loss falls in the first epoch and is flat from then on",
            f"batch norm stands at the output: mean and spread of every output over the batch are its own two numbers, "
            "whatever "
            f"the network computes. {min(lost, 1):.0%} of the way down is out of reach with them as they are, and of the "
            "gradient "
            f"{share:.0%} comes through: what all examples want alike is subtracted with the mean, and only the norm's "
            "shift can follow it, at the pace of the rate",
            "leave the batch norm at the output out; an activation there may keep the outputs bounded",
            {"loss at the start": evidence.start, "lowest loss with the norm": here, "lowest loss without it": bare,
             "share of the way out of "
             "reach": lost, "share of the gradient that passes": share, "threshold of both": self.gap,
             "loss after a short "
             "training": evidence.after.value, "loss of the best constant answer": evidence.loss.constant},
            shared.place(call), shared.lines(evidence, call, ""),
            "without the norm the loss does not fall further", changes.without(norms, "without batch norm at the output"),
            shows=lost > self.gap,
        )  # fmt: skip

    def _fixed(self, evidence: Evidence, norms: list[str], bounded: list[str], lows: tuple[float, float]) -> Suspicion:
        here, free = lows
        call = next(c for c in evidence.tail if c.key == norms[-1])
        return Suspicion(
            "A11", LIKELY, "the loss falls in the first epoch and is flat from then on",
            "batch norm stands at the output and fixes the mean and spread of every output over the batch: the loss comes "
            "to the lowest value that this allows, and stays there; outputs without norm and activation go further down",
            "leave the norm (and the activation) at the output out; where a bound is meant, say it in the loss",
            {"loss at the "
             "start": evidence.start, "lowest loss with the norm": here, "lowest loss of free outputs found": free,
             "share of the way that may be lost": self.gap, "loss after a short training": evidence.after.value},
            shared.place(call), shared.lines(evidence, call, ""), "the bound on the outputs belongs to the problem",
            changes.without([*norms, *bounded], "linear output, without the norm"), harmless=not shared.struggles(evidence),
        )  # fmt: skip

    def _bounded(self, evidence: Evidence, norms: list[str], bounded: list[str], lows: tuple[float, float]) -> Suspicion:
        bare, free = lows
        call = next(c for c in evidence.tail if c.key == bounded[-1])
        return Suspicion(
            "O4", STRONG, "the loss stops well above what other outputs would give",
            f"the best outputs for this loss lie beyond what {call.op} gives; pushed to its edge it is flat, and learning "
            "ends",
            "give the output without that activation, or scale the loss to its range",
            {"lowest loss within reach": bare, "lowest loss of free outputs": free, "loss at the start": evidence.start,
             "share of the way that may be lost": self.gap}, shared.place(call), shared.lines(evidence, call, ""),
            "the lowest loss of free outputs is reached with the "
            "activation", changes.without([*norms, *bounded], "linear output"),
            shows=True,
        )  # fmt: skip


def _endless(evidence: Evidence, low: float) -> Suspicion:
    return Suspicion(
        "O5", LIKELY if evidence.trial.broke is not None else HINT, "the loss falls without end, and the outputs grow "
                                                                    "with it",
        "the loss has no lowest value: ten times the outputs give a lower loss still, so training goes on until numbers "
        "overflow",
        "bound the outputs (tanh, a norm of fixed length) or punish their size in the loss",
        {"lowest loss found": low, "loss at the start": evidence.start}, "loss", "+ output = torch.tanh(output)",
        "the loss of outputs ten times as large is higher", changes.through(torch.tanh, "tanh at the output"),
        harmless=evidence.trial.broke is None,
    )  # fmt: skip
