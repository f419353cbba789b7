"""P7, the graph is cut: detach, no_grad, NumPy, a rounding.

    θ was read in the forward pass, and ∂L/∂θ does not exist (or is exactly 0 behind a step function)

Paszke et al. 2019, "PyTorch: an imperative style, high-performance deep learning library": what autograd records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from convscope.checks._sites import line, place, weighted
from convscope.diagnosing.calls import Call, Rule, identity
from convscope.diagnosing.changes import calling
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.program import trainable
from convscope.diagnosing.suspicion import EXACT, STRONG, Change, Suspicion
from convscope.fields import param, validate

CUTS = ("detach", "detach_", "numpy", "item", "tolist")
STEPS = (
    "round",
    "round_",
    "floor",
    "ceil",
    "sign",
    "heaviside",
    "argmax",
    "argmin",
    "bernoulli",
    "trunc",
    "gt",
    "lt",
    "ge",
    "le",
)


@dataclass(frozen=True)
class GraphCut:
    """Does the gradient reach every parameter that the forward pass used?

    Looked at: ∂L/∂θ for each θ that asks for one and was read on the way to the output (B, …); it must exist. Misleads: a
    backbone under `no_grad` or behind `detach` is a common, sound way to fine-tune: then the head gets its gradient, and
    the score tells whether that is enough. Parameters of branches that the output does not use are not counted.
    Errors: none. Source: Paszke et al. 2019, "PyTorch".

    >>> from convscope.diagnosing import given
    >>> class Cut(torch.nn.Sequential):
    ...     def forward(self, x): return self[1](self[0](x).detach())
    >>> net = Cut(torch.nn.Linear(4, 8), torch.nn.Linear(8, 2))
    >>> data = (torch.randn(16, 4), torch.arange(16) % 2)
    >>> [s.fault for s in GraphCut()(Evidence(given.program(net, data, "cross-entropy")))]
    ['P7']
    """

    needs: ClassVar[str] = "program"
    share: float = param(0.0, "share of the used parameters that may stay without a gradient", low=0, high=1)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, evidence: Evidence) -> Iterator[Suspicion]:
        if evidence.output is None or evidence.loss.problem:
            return
        asking = trainable(evidence.twin.model)
        if not asking:
            return  # everything is frozen, which is another fault
        gradients = evidence.gradients
        used = [n for n in asking if any(n in c.parameters for c in evidence.calls)]
        none = [n for n in asking if gradients.get(n) is None]
        steps = [c for c in evidence.calls if c.op in STEPS]
        cut = [c for c in evidence.calls if c.op in CUTS]
        if len(none) == len(asking):
            yield self._suspicion(evidence, asking, none, next(iter([*cut, *steps]), None), True)
            return
        lost = [n for n in none if n in used and not _aside(evidence, n)]
        if lost and len(lost) > self.share * len(used):
            yield self._suspicion(evidence, asking, lost, next(iter(cut), None), False)
            return
        zero = [n for n in used if gradients.get(n) == 0.0]
        if zero and steps and len(zero) > 0.5 * len(used):
            yield self._suspicion(evidence, asking, zero, steps[0], len(zero) == len(used))

    def _suspicion(
        self, evidence: Evidence, asking: dict[str, Any], lost: list[str], at: Call | None, whole: bool
    ) -> Suspicion:
        why = (
            f"the graph ends at {place(at)}: {at.op} passes no gradient back"
            if at is not None
            else ("what the loss reads has no graph: no_grad, or a copy through NumPy, .item(), .data or a list")
        )
        alive = _alive(evidence, at)
        return Suspicion(
            "P7",
            EXACT if whole or at is None or at.op in CUTS else STRONG,
            "the loss is flat: nothing gets a gradient" if whole else "only the last layers learn",
            f"{len(lost)} of {len(asking)} parameters were used and get no gradient; {why}",
            "compute the loss from the tensors themselves: no detach, no_grad, .item(), NumPy or rounding on the way",
            {"parameters without gradient": float(len(lost)), "parameters": float(len(asking)), "threshold": self.share},
            place(at) if at is not None else lost[0],
            line(at, f"# without {at.op}: the gradient goes back through it")
            if at is not None
            else "- with torch.no_grad():\n+ # the forward pass of training needs its graph",
            "the part without gradient is a fixed feature extractor on purpose, and the score does not ask for more",
            alive,
            shows=whole,
        )


def _aside(evidence: Evidence, name: str) -> bool:
    """Is it used only by calls from which no way leads on to the output, without a cut: an unused branch?"""
    mine = [i for i, c in enumerate(evidence.calls) if name in c.parameters]
    followed, todo = set[int](), list(mine)
    while todo:
        here = todo.pop()
        if here in followed:
            continue
        followed.add(here)
        todo.extend(j for j, c in enumerate(evidence.calls) if here in c.inputs)
    last = None if evidence.tensor is None else evidence.first[1].of(evidence.tensor)
    reached = last is not None and evidence.calls.index(last) in followed
    rest = [c for c in weighted(evidence) if evidence.calls.index(c) not in followed]
    tracked = bool(rest) and last is not None and all(any(p in evidence.gradients for p in c.parameters) for c in rest)
    return not reached and tracked and not any(evidence.calls[i].op in CUTS for i in followed) and last is not None


def _alive(evidence: Evidence, at: Call | None) -> Change | None:
    """The pass without the cut; with its graph, where it ran under no_grad."""
    if at is not None:
        rule: Rule = identity
        if at.op in STEPS and at.value.is_floating_point():
            rule = _straight
        return (
            calling({at.key: rule}, f"without {at.op}")
            if at.op in (*CUTS[:2], *STEPS) and at.value.is_floating_point()
            else None
        )
    ops = {c.op for c in evidence.calls if not c.value.requires_grad and c.value.is_floating_point()}
    return calling(dict.fromkeys(ops, _recorded), "with its graph") if ops else None


def _recorded(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    with torch.enable_grad():
        return func(*args, **kwargs)


def _straight(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """The step forward, the identity backward (Bengio et al. 2013, the straight-through estimator)."""
    x = args[0]
    return x + (func(*args, **kwargs) - x).detach()
