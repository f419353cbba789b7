"""A1, no non-linearity between layers.

    f(a + b) − f(a) − f(b) + f(0) = 0  for all a, b      ⟺  f is affine: W₂(W₁x + b₁) + b₂ = (W₂W₁)x + (W₂b₁ + b₂)

Goodfellow et al. 2016, "Deep Learning", section 6.1: layers without a non-linearity are one linear layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from convscope.checks._sites import again, ancestors, line, place, weighted
from convscope.diagnosing.calls import Call, Rule
from convscope.diagnosing.changes import calling
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.suspicion import EXACT, HINT, Change, Suspicion
from convscope.fields import param, validate

AFFINE = (
    "add",
    "sub",
    "subtract",
    "batch_norm",
    "dropout",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "mean",
    "sum",
    "cat",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool1d",
    "pad",
    "stack",
    "interpolate",
    "neg",
)


@dataclass(frozen=True)
class Linearity:
    """Is there a non-linearity between the layers?

    f is the network in evaluation mode, up to its last layer with weights; a, b are inputs of the batch, (B, …), at three
    times their size. Formula: max |f(a+b) − f(a) − f(b) + f(0)| / max |f(a)|, a ratio without unit. Misleads: it is a fault
    only where more than a linear map is wanted: a linear autoencoder or a low-rank layer is affine on purpose.
    Two layers in sequence with nothing between, in a network that is not affine as a whole, are a hint.
    Errors: none. Source: Goodfellow et al. 2016, "Deep Learning", section 6.1.

    >>> from convscope.diagnosing import given
    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Linear(8, 2))
    >>> evidence = Evidence(given.program(net, (torch.randn(16, 4), torch.arange(16) % 2), "cross-entropy"))
    >>> [found.fault for found in Linearity()(evidence)]
    ['A1']
    """

    needs: ClassVar[str] = "program"
    slack: float = param(1e-3, "largest deviation from superposition that rounding explains, relative", low=0)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, evidence: Evidence) -> Iterator[Suspicion]:
        layers = weighted(evidence)
        if len(layers) < 2 or evidence.tensor is None or not evidence.x.is_floating_point():
            return
        pairs = _bare(evidence, layers)
        if not pairs:
            return
        whole = all(evidence.calls[i].op in AFFINE or evidence.calls[i] in layers for i in _behind(evidence, layers[-1]))
        off = self._superposed(evidence, layers[-1]) if whole else float("inf")
        affine = off <= self.slack
        where = ", ".join(f"between {place(a)} and {place(b)}" for a, b in pairs[:3])
        many = len({id(b) for _, b in pairs}) + 1
        yield Suspicion(
            "A1",
            EXACT if affine else HINT,
            "the network fits no more than a straight line would" if affine else "some layers add nothing",
            f"{many} layers with weights have nothing non-linear between them: together they are one linear layer",
            "put a non-linearity (ReLU) behind every hidden layer",
            {"deviation from superposition": off, "threshold": self.slack, "layers in sequence": float(many)},
            where,
            "\n".join(_code(a, evidence.program.framework) for a, _ in pairs),
            "a linear map is what is wanted (a linear autoencoder, logistic regression), or a linear fit scores as well",
            _activated([b for _, b in pairs]),
            harmless=not affine,
        )

    def _superposed(self, evidence: Evidence, last: Call) -> float:
        """The deviation from superposition, relative; infinite where it cannot be measured."""
        a = 3.0 * evidence.x.detach().nan_to_num(0.0, 0.0, 0.0)
        if len(a) < 2:
            return float("inf")
        b = -a.roll(1, 0)

        def at(x: Tensor) -> Tensor | None:
            got = again(evidence.twin, x)
            same = [] if got is None else [c for c in got[1].calls if c.key == last.key]
            return same[0].value.double() if same else None

        values = [at(v) for v in (a + b, a, b, torch.zeros_like(a))]
        if any(v is None for v in values):
            return float("inf")
        both, one, other, zero = [v for v in values if v is not None]
        scale = max(float((one - zero).abs().max()), float((other - zero).abs().max()))
        return float((both - one - other + zero).abs().max()) / scale if scale > 0 else float("inf")


def _behind(evidence: Evidence, last: Call) -> set[int]:
    """The calls that the last layer hangs on, itself included."""
    found: set[int] = set()
    todo = [evidence.calls.index(last)]
    while todo:
        here = todo.pop()
        if here >= 0 and here not in found:
            found.add(here)
            todo.extend(evidence.calls[here].inputs)
    return found


def _bare(evidence: Evidence, layers: list[Call]) -> list[tuple[Call, Call]]:
    """Pairs of layers (linear or convolution) with only affine calls between, on the way to the output."""
    reach, found = ancestors(evidence), list[tuple[Call, Call]]()
    for b in layers:
        if b.op not in ("linear", "conv") or evidence.calls.index(b) not in reach:
            continue
        todo, seen = list(b.inputs), set[int]()
        while todo:
            here = todo.pop()
            if here < 0 or here in seen:
                continue
            seen.add(here)
            a = evidence.calls[here]
            if a in layers:
                if a.op in ("linear", "conv"):
                    found.append((a, b))
            elif a.op in AFFINE:
                todo.extend(a.inputs)
    return found


def _activated(calls: list[Call]) -> Change:
    """A ReLU in front of each of these calls."""

    def rule(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if args:
            return func(torch.relu(args[0]), *args[1:], **kwargs)
        return func(**{**kwargs, "input": torch.relu(kwargs["input"])})

    rules: dict[str, Rule] = {c.key: rule for c in calls}
    return calling(rules, f"ReLU before {len(rules)} layer{'s' if len(rules) > 1 else ''}")


def _code(call: Call, framework: str) -> str:
    if framework == "keras":
        return f'- {call.name}: activation=None\n+ {call.name}: activation="relu"'
    return line(call, "x = F.relu(x)" if call.text else "nn.ReLU()", keep=True)
