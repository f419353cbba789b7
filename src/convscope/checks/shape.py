"""A9, layers in the wrong order, or a reshape that mixes examples; A10, maps pooled down too early.

    f(π x) = π f(x)   for every order π of the batch, in evaluation mode: an example's answer is its own

A `view` that cuts across the batch axis breaks this; so does an output with other than B rows. A kernel wider than 1 on a
map of 1×1 sees nothing but padding. Humbatova et al. 2020, "Taxonomy of real faults in deep learning systems".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from convscope.checks._sites import again, line, place, weight, weighted
from convscope.diagnosing.calls import Call
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.suspicion import EXACT, HINT, LIKELY, STRONG, Suspicion
from convscope.fields import param, validate

MIXERS = ("softmax", "log_softmax", "batch_norm", "instance_norm", "dropout")  # told by other checks


@dataclass(frozen=True)
class Shape:
    """Is every example answered by itself, and is anything left of the maps?

    Formula: max |f(πx) − πf(x)| / std f(x), without unit, π the reversed order of a batch (B, …), evaluation mode; and the
    map sizes (h, w) that each convolution sees. Misleads: a network that compares examples on purpose (a contrastive head,
    batch attention) breaks the first rule; a deep residual network on small images breaks the second and learns all the
    same.
    Errors: none. Source: Humbatova et al. 2020, "Taxonomy of real faults in deep learning systems".

    >>> from convscope.diagnosing import given
    >>> class Mixed(torch.nn.Linear):
    ...     def forward(self, x): return super().forward(x.T.reshape(x.shape))
    >>> data = (torch.randn(16, 4), torch.arange(16) % 2)
    >>> [s.fault for s in Shape()(Evidence(given.program(Mixed(4, 2), data, "cross-entropy")))]
    ['A9']
    """

    needs: ClassVar[str] = "program"
    slack: float = param(
        1e-3, "how far an answer may hang on the order of the batch, relative to the answers' spread", low=0
    )

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, evidence: Evidence) -> Iterator[Suspicion]:
        out = evidence.tensor
        if out is None or not weighted(evidence):
            return
        b = len(evidence.x)
        if out.ndim and len(out) != b:
            yield self._mixed(None, {"rows of the output": float(len(out)), "examples": float(b)})
        elif b > 1:
            yield from self._ordered(evidence)
        yield from self._unflattened(evidence)
        yield from self._pooled(evidence)

    def _ordered(self, evidence: Evidence) -> Iterator[Suspicion]:
        x = evidence.x.detach()
        straight, turned = again(evidence.twin, x), again(evidence.twin, x.flip(0))
        if straight is None or turned is None or not isinstance(straight[0], Tensor) or not isinstance(turned[0], Tensor):
            return
        off = _off(straight[0], turned[0])
        once_more = again(evidence.twin, x, seed=1)
        if off <= self.slack or once_more is None or not torch.equal(once_more[0], straight[0]):
            return  # an output that is drawn at random says nothing here
        bad: Call | None = None
        for a, c in zip(straight[1].calls, turned[1].calls, strict=False):
            if (
                a.value.ndim
                and len(a.value) == len(x)
                and a.value.shape == c.value.shape
                and _off(a.value, c.value) > self.slack
            ):
                bad = next((e for e in evidence.calls if e.key == a.key), a)
                break
        if bad is None or bad.op not in MIXERS:
            yield self._mixed(bad, {"change with the order of the batch": off, "threshold": self.slack})

    def _mixed(self, bad: Call | None, numbers: dict[str, float | str]) -> Suspicion:
        return Suspicion(
            "A9",
            EXACT if "threshold" in numbers else STRONG,
            "the network cannot learn which answer belongs to which example",
            "a reshape cuts across the batch axis: an example's answer is made from other examples' values",
            "keep the batch axis first: x.flatten(1), and permute instead of view where axes change places",
            numbers,
            "" if bad is None else f"in front of {place(bad)}",
            "- x = x.view(-1, features)\n+ x = x.flatten(1)"
            if bad is None or not bad.text
            else f"+ x = x.flatten(1)  # the batch axis stays; before: {bad.text}",
            "the answers stay with their examples when the batch is reversed",
            shows="threshold" in numbers,
        )

    def _unflattened(self, evidence: Evidence) -> Iterator[Suspicion]:
        """A linear layer that reads the rows of images."""
        first = weighted(evidence)[0]
        if first.op != "linear" or evidence.x.ndim < 4 or first.value.ndim < 4 or evidence.calls.index(first) > 1:
            return
        got = weight(first, evidence.twin)
        fan_in = 0 if got is None else (got[1].shape[-1] if evidence.program.framework == "torch" else got[1].shape[0])
        if fan_in != evidence.x.shape[-1]:
            return  # patches, or axes that were moved on purpose
        yield Suspicion(
            "A9",
            LIKELY,
            "the score stays below that of a plain network",
            f"{place(first)} reads the last axis of the images alone ({fan_in} numbers): rows never meet in it",
            "flatten before the first linear layer",
            {
                "axes of its input": float(evidence.x.ndim),
                "numbers it reads": float(fan_in),
                "numbers of an example": float(evidence.x[0].numel()),
            },
            place(first),
            line(first, "x = x.flatten(1)", keep=True).replace("behind", "before"),
            "the last axis is meant as features, and later layers mix the others",
        )

    def _pooled(self, evidence: Evidence) -> Iterator[Suspicion]:
        convs = [c for c in weighted(evidence) if c.op == "conv" and c.value.ndim == 4]
        if len(convs) < 2 or evidence.program.framework != "torch":
            return
        small: list[Call] = []
        for call in convs:
            got = weight(call, evidence.twin)
            given = [evidence.calls[i].value for i in call.inputs if i >= 0]
            if got and given and given[0].ndim == 4 and given[0].shape[2:] == (1, 1) and max(got[1].shape[2:]) > 1:
                small.append(call)
        if not small:
            return
        share = len(small) / len(convs)
        yield Suspicion(
            "A10",
            LIKELY if share >= 0.5 else HINT,
            "the score stays low however long it trains",
            f"from {place(small[0])} on, {len(small)} of {len(convs)} convolutions see a map of 1×1, and padding",
            "pool less often, or with stride 1, so that the last convolution still sees a few positions",
            {"convolutions on 1×1 maps": float(len(small)), "of": float(len(convs)), "threshold (share)": 0.5},
            place(small[0]),
            "- nn.MaxPool2d(2)  # one of those before\n+ # left out",
            "larger images score as badly",
            harmless=share < 0.5,
        )


def _off(a: Tensor, turned: Tensor) -> float:
    if a.shape != turned.shape or not a.is_floating_point() or not a.numel():
        return 0.0
    a, b = a.detach().double(), turned.detach().double().flip(0)
    spread = float(a.std(unbiased=False))
    off = float((a - b).abs().max())
    return off / spread if spread > 0 and off == off else 0.0
