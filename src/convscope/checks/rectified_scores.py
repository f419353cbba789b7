"""softmax(pool(relu(z))): a class whose score is below 0 has the probability of every other such class, and no gradient."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from convscope.checks import _output as shared
from convscope.diagnosing import changes
from convscope.diagnosing.calls import ACTIVATIONS
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.suspicion import LIKELY, STRONG, Suspicion
from convscope.fields import param, validate


@dataclass(frozen=True)
class RectifiedScores:
    """Does a ReLU stand between the last layer with weights and the softmax of the classes?

    Looked for in the calls behind the last weights, pooling between the two allowed. Where the ReLU gives 0 no gradient
    passes: units that begin below 0 for all images stay dead. Misleads where scores are meant to be non-negative.
    Errors: none. Source: Lin et al. 2014, "Network in network", whose last maps are scores.

    >>> import torch
    >>> from torch import nn
    >>> from convscope.diagnosing import given
    >>> net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.LogSoftmax(dim=1))
    >>> program = given.program(net, (torch.rand(8, 3), torch.arange(8) % 4), "nll")
    >>> [s.fault for s in RectifiedScores()(Evidence(program))]
    ['O10']
    """

    needs: ClassVar[str] = "program"
    allowed: float = param(0.0, "share of the scores that may be exactly 0", low=0, high=1)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, evidence: Evidence) -> Iterator[Suspicion]:
        ops = [c.op for c in evidence.tail if c.op in ACTIVATIONS]
        if len(ops) < 2 or ops[-1] not in ("softmax", "log_softmax") or ops[-2] != "relu":
            return
        call = next(c for c in reversed(evidence.tail) if c.op == "relu")
        zeros = float((call.value == 0).float().mean())
        if zeros <= self.allowed:
            return
        poor = shared.struggles(evidence)
        yield Suspicion(
            "O10", STRONG if poor else LIKELY, "learning begins late or not at all, and some classes are never predicted",
            f"a ReLU stands between the last layer with weights and the softmax: {zeros:.0%} of the scores are 0 there, "
            "get no gradient, and such classes share one probability", "leave it out: scores of classes may be negative",
            {"share of the scores at exactly 0": zeros, "allowed": self.allowed}, shared.place(call),
            shared.lines(evidence, call, ""), "scores below 0 before the softmax",
            changes.without([call.key], "without the ReLU on the scores"), harmless=not poor,
        )  # fmt: skip
