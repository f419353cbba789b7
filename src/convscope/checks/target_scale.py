"""Are the targets of a regression of the size of what the network gives?

    MSE at the begin ≈ E[t²]      ∂L/∂o = 2 (o − t)/N      both grow with the targets' size, the rate does not

With Adam each step moves an output by about lr · Σ|h|, so a target of 10⁴ takes thousands of steps.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from convscope.checks._data import graded, poor
from convscope.diagnosing import changes
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.losses import quiet
from convscope.diagnosing.suspicion import HINT, LIKELY, Suspicion
from convscope.fields import param, validate

REGRESSIONS = ("mse", "mae", "huber", "rmse")
FAR = 5.0  # times the threshold, from which on scale alone accounts for a training that goes badly
BOUNDED = ("sigmoid", "tanh", "softmax", "log_softmax", "softsign", "log_sigmoid")


FEW = 50  # whole numbers from 0 up to which targets are taken for names or counts


@dataclass(frozen=True)
class TargetScale:
    """Are the targets of a regression far from the size of the network's outputs?

    Of targets (N, …): root mean square r. Suspected where r is above `wide` (or below 1/`wide`), and the outputs at the
    begin, of standard deviation s, are not of that size either. How sure it is follows the short training.

    Misleads where the last layer's bias was set to the mean on purpose; then r is taken about that. Behind a bounded
    activation (sigmoid) the reach is the fault, and the scale comes second. Errors: none.
    Source: LeCun, Bottou, Orr, Müller 1998, "Efficient BackProp", section 4.5; Bishop 1995, ch. 8.2.

    >>> import torch; from convscope.diagnosing import given
    >>> data = (torch.rand(40, 2), 1e4 * torch.rand(40, 1))
    >>> program = given.program(torch.nn.Linear(2, 1), data, "mse", "sgd:0.001", epochs=5)
    >>> [s.fault for s in TargetScale()(Evidence(program, seconds=0.1))]
    ['D4']
    """

    needs: ClassVar[str] = "program"
    wide: float = param(5.0, "a root mean square above this is not scaled", low=1)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, evidence: Evidence) -> Iterator[Suspicion]:
        y, out, t = evidence.program.examples.y, evidence.tensor, evidence.targets
        if y is None or out is None or not t.finite or t.kind in ("none", "binary", "one-hot", "multi-hot", "shares"):
            return
        if t.kind == "indices" and t.classes <= FEW:
            return  # numbers of classes, or small counts: their scale is not what is wrong
        if t.std <= 0 or out.numel() != len(out) * t.numbers:
            return
        if evidence.loss.family not in REGRESSIONS and not reads_values(evidence, out.detach(), t.std):
            return
        o = out.detach().double()
        away = math.sqrt(float((o.mean() - t.mean) ** 2) + t.std**2)  # of the targets, from where the outputs begin
        given = float(o.std(unbiased=False))
        size = math.sqrt(t.mean**2 + t.std**2)
        large = min(size, away) > self.wide and size > self.wide * given
        small = max(size, away) < 1 / self.wide and t.std < given / self.wide and given < self.wide
        if not large and not small:
            return
        strength = graded(evidence, far=size > FAR * self.wide or small)
        reach, word = evidence.last in BOUNDED, "large" if large else "small"
        if reach:
            strength = min(strength, LIKELY) if poor(evidence) else HINT
        yield Suspicion(
            "D4", strength,
            "targets are not scaled, and training copes" if strength <= HINT
            else "the loss is huge and falls slowly" if large else "the outputs' own noise hides the targets",
            f"the targets lie {away:.3g} from where the outputs begin, whose spread is {given:.3g}: too {word} for "
            "weights of the usual size, so the loss and its gradient are out of scale with the rate",
            "standardise the targets by the training set's mean and standard deviation, and undo it on the outputs",
            {"targets from the first outputs (RMS)": away, "at most": self.wide, "outputs' standard deviation": given,
             "targets' mean": t.mean, "targets' standard deviation": t.std, "loss at the begin": evidence.start},
            where="targets",
            code="+ mean, std = y_train.mean(), y_train.std()\n+ y = (y - mean) / std\n+ # later: prediction * std + mean",
            disproof="R² after the same number of steps on standardised targets is no better",
            change=None if reach else changes.standardised_targets(evidence.program.examples),
            harmless=strength <= HINT,
        )  # fmt: skip


def reads_values(evidence: Evidence, out: Tensor, step: float) -> bool:
    """Is a loss that is none of the known ones least where the output is the target?"""
    if evidence.y is None or evidence.y.numel() != out.numel():
        return False
    t = evidence.y.to(out.dtype).reshape(out.shape)
    at, *around = (float(quiet(evidence.twin, o, evidence.y)) for o in (t, t + step, t - step, 0.9 * t, 1.1 * t))
    return math.isfinite(at) and all(at < v for v in around)
