"""What the loss reads and what it gets: logits, probabilities, log-probabilities.

    −t ln p − (1 − t) ln(1 − p) of a p outside 0 … 1 is NaN, or clipped at ±10⁻⁷, where its gradient is 0
    nll(o, y) = −o_y is bounded below only for o ≤ 0 whose exponentials add up to 1: of probabilities it ends at −1 with a
    gradient that does not grow with the error; of raw outputs it falls for ever

Humbatova et al. 2020, "Taxonomy of real faults in deep learning systems" (wrong loss input, missing softmax).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from convscope.checks import _output as shared
from convscope.diagnosing import changes
from convscope.diagnosing.calls import Call, instead
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.suspicion import EXACT, LIKELY, STRONG, Suspicion
from convscope.fields import param, validate


@dataclass(frozen=True)
class LossInput:
    """Does the loss read what the network gives?

    Formula: the loss is known by what it computes (`evidence.loss.reads`); outputs (B, …) are probabilities if they lie in
    0 … 1, log-probabilities if Σ_k e^{o_k} = 1. `slack` is in the outputs' own unit.
    Misleads: where values behind the last weights are bounded in a way of their own that the first batch does not show.
    Errors: none. Source: Humbatova et al. 2020.

    >>> from torch import nn
    >>> from convscope.diagnosing import given
    >>> program = given.program(nn.Linear(3, 4), (torch.rand(8, 3), torch.arange(8) % 4), "nll")
    >>> [s.fault for s in LossInput()(Evidence(program))]
    ['O3']
    """

    needs: ClassVar[str] = "program"
    slack: float = param(1e-3, "how far outside its range an output may lie", low=0, high=0.1)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, evidence: Evidence) -> Iterator[Suspicion]:
        out = evidence.tensor
        if out is None or out.ndim < 1 or not out.is_floating_point() or not bool(torch.isfinite(out).all()):
            return
        o, last, facts = out.detach().float(), shared.closing(evidence), evidence.loss
        if facts.reads == "probabilities" and (last is None or last.op not in ("sigmoid", "softmax", "relu")):
            outside = float(((o < -self.slack) | (o > 1 + self.slack)).float().mean())
            if outside > 0 or not evidence.tail:  # what ends in a layer with weights has no bounds
                yield self._logits(evidence, outside, last)
        elif facts.family == "poisson" and last is not None and last.op in ("softplus", "relu", "exp", "sigmoid"):
            yield self._rates(evidence, last)
        elif facts.family in ("nll", "kl") and o.ndim > 1 and o.shape[1] > 1:
            if shared.sums_to_one(o, 1, self.slack):
                yield self._probabilities(evidence, last)
            elif facts.family == "kl" or any(c.op == "log_softmax" for c in evidence.tail):
                return  # a log-softmax over another axis is that axis's fault
            elif float(torch.logsumexp(o, 1).abs().max()) > 10 * self.slack:
                yield self._raw(evidence, float(torch.logsumexp(o, 1).abs().max()))

    def _rates(self, evidence: Evidence, last: Call) -> Suspicion:
        """A Poisson loss that applies exp itself, over outputs that cannot fall below 0."""
        return Suspicion(
            "O3", STRONG if shared.struggles(evidence) else LIKELY, "small counts are never predicted",
            f"the Poisson loss takes the output for the logarithm of a rate, and a {last.op} keeps it above "
            "0, so no rate below 1 can be said", "give it the values before, or set log_input=False",
            {"lowest rate within reach": 1.0, "lowest target": evidence.targets.low, "lowest output": _low(evidence)},
            shared.place(last), shared.lines(evidence, last, ""), "outputs below 0",
            changes.without([last.key], "log rates to the loss"),
        )  # fmt: skip

    def _logits(self, evidence: Evidence, outside: float, last: Call | None) -> Suspicion:
        binary = evidence.loss.family == "bce"
        made = "sigmoid" if binary else "softmax"
        axis = shared.class_axis(evidence)
        mend = changes.through(torch.sigmoid if binary else lambda v: v.softmax(axis), f"{made} at the output")
        loss = "nn.BCEWithLogitsLoss()" if binary else "nn.CrossEntropyLoss()"
        code = (f"- loss\n+ {loss}  # applies the {made} itself, and cannot "
                "overflow" if evidence.program.framework == "torch"
                else _keras(evidence, made))  # fmt: skip
        return Suspicion(
            "O3", EXACT if outside > 0.05 else STRONG, "the loss is NaN, huge or flat, and the score that of chance",
            f"the loss takes the logarithm of probabilities, and the network ends in "
            f"{last.op if last else 'a linear layer'}, which "
            f"is not bounded by 0 and 1 ({outside:.0%} of the outputs lie outside at the begin): the logarithm of what "
            "lies outside is NaN, or it is clipped, and what is clipped has no gradient",
            f"put a {made} at the output, or, better, use the loss that reads logits",
            {"share of outputs outside 0 … "
             "1": outside, "share allowed": 0.0, "lowest": _low(evidence), "highest": _high(evidence)},
            "loss", code, "all outputs lie in 0 … 1 (and add up to 1 for exclusive classes)", mend,
            shows=outside > 0.05 and shared.struggles(evidence),
        )  # fmt: skip

    def _probabilities(self, evidence: Evidence, last: Call | None) -> Suspicion:
        mend = (changes.calling({last.key: instead(lambda v: v.log_softmax(1))}, "log_softmax for the softmax")
                if last is not None and last.op == "softmax" else changes.through(_log, "log of the "
                                                                                        "probabilities"))  # fmt: skip
        return Suspicion(
            "O3", EXACT, "the loss is negative, between −1 and 0, and learning is slow",
            f"{'NLLLoss' if evidence.loss.family == 'nll' else 'the Kullback–Leibler loss'} reads log-probabilities and "
            "gets probabilities: it is linear in p, so its gradient does not grow with the "
            "error: an example that is quite wrong pulls no more than one that is right, and less once the softmax is sure",
            "give it log_softmax, or give logits to cross-entropy",
            {"rows add up to": 1.0, "loss at the start": evidence.start, "expected, ln C": math.log(_classes(evidence))},
            shared.place(last), shared.lines(evidence, last, "log_softmax"),
            "the exponentials of a row of the outputs add up to 1", mend, shows=True,
        )  # fmt: skip

    def _raw(self, evidence: Evidence, away: float) -> Suspicion:
        return Suspicion(
            "O3", EXACT, "the loss falls below 0 and on without end, and the score that of chance",
            "NLLLoss reads log-probabilities and gets raw outputs: −o_y has no lowest value, so the outputs grow for "
            "ever, for all classes alike; nothing makes them compete",
            "put a log_softmax at the output, or give the outputs to cross-entropy",
            {"largest |ln Σ e^o| of a row": away, "allowed": 10 * self.slack, "loss at the start": evidence.start},
            "loss", "- nn.NLLLoss()\n+ nn.CrossEntropyLoss()", "the exponentials of each row add up to 1",
            changes.through(lambda v: v.log_softmax(1), "log_softmax at the output"), shows=True,
        )  # fmt: skip


def _keras(evidence: Evidence, made: str) -> str:
    width = evidence.tensor.shape[-1] if evidence.tensor is not None else 1
    return f'- Dense({width})\n+ Dense({width}, activation="{made}")  # or from_logits=True in the loss'


def _classes(evidence: Evidence) -> int:
    return evidence.tensor.shape[1] if evidence.tensor is not None else 1


def _low(evidence: Evidence) -> float:
    return float(evidence.tensor.detach().min()) if evidence.tensor is not None else math.nan


def _high(evidence: Evidence) -> float:
    return float(evidence.tensor.detach().max()) if evidence.tensor is not None else math.nan


def _log(p: Tensor) -> Tensor:
    return p.clamp(min=torch.finfo(p.dtype).tiny).log()
