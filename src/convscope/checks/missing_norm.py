"""A11, a deep plain network without normalisation.

    y = γ (x − E x)/√(Var x + ε) + β   after each layer keeps its values at spread γ, whatever the layers before do

Ioffe & Szegedy 2015, "Batch normalization"; Santurkar et al. 2018, "How does batch normalization help optimization?".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

from torch import nn

from convscope.checks._sites import place, weighted
from convscope.diagnosing.calls import NORMS
from convscope.diagnosing.changes import modules, rewritten
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.program import Program, trainable
from convscope.diagnosing.suspicion import HINT, LIKELY, Change, Suspicion
from convscope.fields import param, validate


@dataclass(frozen=True)
class MissingNorm:
    """Would a deep chain of convolutions need normalisation?

    Counted: convolutions in a network without any norm and without skip connections (additions of two calls), whose trial
    has not learned. No unit. Misleads: it is a suspicion from the shape alone: whether norms help is for the counterfactual
    to say. Plain networks of this depth do train with fine initial weights and a fine rate (VGG).
    Errors: none. Source: Ioffe & Szegedy 2015, "Batch normalization".

    >>> import torch
    >>> from convscope.diagnosing import given
    >>> deep = [m for i in range(7) for m in (nn.Conv2d(4 if i else 1, 4, 3, padding=1), nn.ReLU())]
    >>> net = nn.Sequential(*deep, nn.Flatten(), nn.Linear(64, 2))
    >>> made = given.program(net, (torch.randn(16, 1, 4, 4), torch.arange(16) % 2), "cross-entropy", "sgd:1e-6", epochs=1)
    >>> [s.fault for s in MissingNorm()(Evidence(made))]
    ['A11']
    """

    needs: ClassVar[str] = "program"
    deep: int = param(6, "convolutions from which a plain network is deep", low=2)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, evidence: Evidence) -> Iterator[Suspicion]:
        convs = [c for c in weighted(evidence) if c.op == "conv"]
        if len(convs) < self.deep or evidence.after.learned or evidence.trial.problem:
            return
        if any(
            c.op in NORMS or c.op.startswith("rsqrt") or (c.op in ("add", "cat") and len(c.inputs) > 1)
            for c in evidence.calls
        ):
            return
        std = {s.name: s.std for s in evidence.signals}
        first, last = std.get(convs[0].name, 0.0), std.get(convs[-1].name, 0.0)
        torchs = evidence.program.framework == "torch"
        yield Suspicion(
            "A11",
            LIKELY if torchs and evidence.x.ndim == 4 else HINT,
            "the loss stays where it began, or falls very slowly",
            f"{len(convs)} convolutions follow one another without normalisation or skip connection",
            "batch norm behind each convolution",
            {
                "convolutions": float(len(convs)),
                "threshold": float(self.deep),
                "spread of the last over the first": last / max(first, 1e-12),
            },
            place(convs[0]),
            "- nn.Conv2d(c, d, 3)\n+ nn.Conv2d(c, d, 3, bias=False), nn.BatchNorm2d(d)",
            "with batch norm the loss falls no faster",
            _normed() if torchs and evidence.x.ndim == 4 else None,
        )


def _normed() -> Change:
    """Batch norm behind each convolution of a map, known to the optimiser."""

    def owned(program: Program) -> Program:
        names = tuple(trainable(program.model))
        options = program.optimizer.groups[0][1] if program.optimizer.groups else {"lr": 0.001}
        return replace(program, optimizer=replace(program.optimizer, groups=((names, options),)))

    def behind(path: str, module: nn.Module) -> nn.Module | None:  # noqa: ARG001 - the place is no matter
        return nn.Sequential(module, nn.BatchNorm2d(module.out_channels)) if isinstance(module, nn.Conv2d) else None

    return modules(behind, "batch norm behind each convolution").then(rewritten(owned, "known to the optimiser"))
