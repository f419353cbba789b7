"""P12, half-precision underflow.

    float16 knows nothing under 6·10⁻⁸ (2⁻²⁴): a gradient smaller than half of that is 0, and so is Adam's ε = 1e-8

Micikevicius et al. 2018, "Mixed precision training": scale the loss so that gradients stay above; keep weights in float32.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from convscope.diagnosing.changes import inputs, rewritten
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.program import Program, left_alone, trainable
from convscope.diagnosing.suspicion import HINT, LIKELY, STRONG, Suspicion
from convscope.diagnosing.trial import output_of
from convscope.fields import param, validate

SMALLEST = 2.0**-24  # of float16


@dataclass(frozen=True)
class Precision:
    """Do gradients, or the optimiser's small numbers, vanish in half precision?

    Formula: share of the gradients' elements that are exactly 0, against the same in float32; from 0 to 1. float16 only:
    bfloat16 has float32's range. Misleads where most gradients are 0 for another reason (dead units): then both shares are
    high.
    Errors: none. Source: Micikevicius et al. 2018, "Mixed precision training".

    >>> from convscope.diagnosing import given
    >>> net = torch.nn.Linear(4, 2).half()
    >>> data = (torch.randn(16, 4).half(), torch.arange(16) % 2)
    >>> [s.fault for s in Precision()(Evidence(given.program(net, data, "cross-entropy", "adam")))]
    ['P12']
    """

    needs: ClassVar[str] = "program"
    zeros: float = param(0.2, "share of gradients that may be lost to 0, beyond those that are 0 in float32", low=0, high=1)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, evidence: Evidence) -> Iterator[Suspicion]:
        half = [n for n, p in evidence.program.model.named_parameters() if p.dtype == torch.float16]
        passing = [c for c in evidence.calls if c.value.dtype == torch.float16]
        if not half and not passing:
            return
        lost = zero_share(evidence.program.twin(), evidence)
        full = zero_share(_single(evidence.program.twin()), evidence)
        gone = lost - full if lost is not None and full is not None else 0.0
        eps = evidence.program.optimizer.option("eps")
        no_eps = bool(half) and isinstance(eps, float) and 0 < eps < SMALLEST / 2
        strength = STRONG if gone > self.zeros or no_eps else LIKELY if half else HINT
        yield Suspicion(
            "P12",
            strength,
            "the loss is flat or becomes NaN, though in float32 it falls",
            f"{gone:.0%} of the gradients are lost to 0 in float16"
            + (f", and the optimiser's eps={eps:g} is 0 in it: it divides by 0" if no_eps else ""),
            "keep the weights in float32 and scale the loss (GradScaler), or use bfloat16",
            {
                "gradients that are 0 in float16": -1.0 if lost is None else lost,
                "in float32": -1.0 if full is None else full,
                "threshold": self.zeros,
                "parameters in float16": float(len(half)),
            },
            half[0] if half else passing[0].name,
            "- model.half()\n+ model.float()"
            if half
            else "- loss.backward()\n+ scaler.scale(loss).backward()  # torch.amp.GradScaler",
            "in float32 the loss is as flat",
            rewritten(_single, "in float32"),
            harmless=strength <= HINT,
        )


def zero_share(program: Program, evidence: Evidence) -> float | None:
    """The share of the gradients' elements that are exactly 0 at the begin; None where there is no gradient."""
    wanted = list(trainable(program.model).values())
    x = (
        evidence.x.float()
        if all(p.dtype == torch.float32 for p in wanted) and evidence.x.is_floating_point()
        else evidence.x
    )
    with left_alone(), warnings.catch_warnings(), torch.enable_grad():
        warnings.simplefilter("ignore")
        torch.manual_seed(evidence.seed)
        program.model.train()
        try:
            grads = torch.autograd.grad(program.value(output_of(program, x), evidence.y), wanted, allow_unused=True)
        except Exception:  # noqa: BLE001 - told by `evidence.loss`
            return None
    every = sum(g.numel() for g in grads if g is not None)
    return sum(float((g == 0).sum()) for g in grads if g is not None) / every if every else None


def _single(program: Program) -> Program:
    """The same program in float32, autocast left out."""
    program.model.float()
    return replace(inputs(_float, "").apply(program), rules={**program.rules, **_plain()})


def _float(x: Tensor) -> Tensor:
    return x.float() if x.is_floating_point() else x


def _plain() -> dict[str, Callable[..., Any]]:
    """Rules: weighted calls and the loss's inputs outside of any autocast."""

    def rule(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
            return func(*(a.float() if isinstance(a, Tensor) and a.dtype == torch.float16 else a for a in args), **kwargs)

    return dict.fromkeys(("linear", "conv", "matmul", "mm"), rule)
