"""Is the loss climbed? A minus in front, or an optimiser that maximises.

    L = a · f + b with a known loss f and a < 0;   or, for any loss: L(right answers) > L(wrong answers)

Humbatova et al. 2020, "Taxonomy of real faults in deep learning systems" (wrong sign of the loss).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from convscope.checks import _output as shared
from convscope.diagnosing import changes
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.suspicion import EXACT, STRONG, Change, Suspicion
from convscope.fields import param, validate


@dataclass(frozen=True)
class Climbing:
    """Does training make the loss of right answers larger?

    Formula: the sign a of the fit L = a · f + b to a known loss f; where L is none of them, the loss of right answers
    against that of wrong ones (the same, given to other examples), for three forms of an answer: logits, chances, values.
    `maximize` of the optimiser turns the sign.
    Misleads: a loss that scores something else than agreement with the targets has no right answers.
    Errors: none. Source: Humbatova et al. 2020.

    >>> import torch
    >>> from convscope.diagnosing import given
    >>> def loss(output, target): return -F.cross_entropy(output, target)
    >>> program = given.program(torch.nn.Linear(3, 4), (torch.rand(8, 3), torch.arange(8) % 4), loss)
    >>> [s.fault for s in Climbing()(Evidence(program))]
    ['P3']
    """

    needs: ClassVar[str] = "program"
    margin: float = param(0.01, "relative difference of two losses that counts", low=0, high=1)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, evidence: Evidence) -> Iterator[Suspicion]:
        if evidence.tensor is None or evidence.y is None or evidence.loss.problem or evidence.objective:
            return
        turned = bool(evidence.program.optimizer.option("maximize", False))
        known = bool(evidence.loss.family)
        right, wrong = self._asked(evidence)
        apart = self.margin * (abs(right) + abs(wrong))
        against = evidence.loss.factor < 0 if known else right > wrong + apart
        agrees = evidence.loss.factor > 0 if known else wrong > right + apart
        if (against and not turned) or (agrees and turned):
            yield self._told(evidence, turned, known, right, wrong)

    def _asked(self, evidence: Evidence) -> tuple[float, float]:
        """(loss of right answers, of wrong ones): the pair that differs most, if all forms agree on which is larger."""
        pairs = [(shared.loss_at(evidence, o), shared.loss_at(evidence, wrong)) for o, wrong in answers(evidence)]
        pairs = [p for p in pairs if all(map(math.isfinite, p)) and p[0] != p[1]]
        if not pairs or len({a > b for a, b in pairs}) > 1:
            return math.nan, math.nan
        return max(pairs, key=lambda p: abs(p[0] - p[1]))

    def _told(self, evidence: Evidence, turned: bool, known: bool, right: float, wrong: float) -> Suspicion:
        evident: dict[str, float | str] = {"loss of right answers": right, "loss of wrong answers": wrong}
        if known:
            evident |= {"loss is": f"{evidence.loss.factor:.3g} × {evidence.loss.family}", "sign needed": "+"}
        why = "the optimiser maximises (maximize=True), and this is a loss" if turned else "the loss has the wrong sign"
        code = "- loss = -criterion(output, y)\n+ loss = criterion(output, y)"
        change: Change = changes.wrapping(_negated, "the sign turned")
        if turned:
            code, change = "- maximize=True\n+ maximize=False", changes.optimizing("descend", maximize=False)
        return Suspicion(
            "P3", EXACT if known else STRONG, "the loss runs off, and the score gets worse than chance",
            f"{why}: each step makes the answers worse, and there is no end to that, so that outputs and weights grow until "
            "they overflow", "descend the loss, or climb its negative",
            evident, "optimizer" if turned else "loss", code, "the loss of right answers is the lower one", change,
            shows=known,
        )  # fmt: skip


def answers(evidence: Evidence) -> list[tuple[Tensor, Tensor]]:
    """Outputs that agree with the targets, and outputs that do not: as logits, as chances, as the values themselves."""
    out, y, targets = evidence.tensor, evidence.y, evidence.targets
    assert out is not None
    assert y is not None
    if targets.kind in ("values", "binary", "multi-hot", "one-hot", "shares") and y.numel() == out.numel():
        t = y.to(out.dtype).reshape(out.shape)
        if targets.kind == "values":
            return [(t, t.roll(1, 0))]
        return [(0.05 + 0.9 * v, 0.05 + 0.9 * w) for v, w in [(t, 1 - t)]] + [(8 * t - 4, 4 - 8 * t)]
    axis = shared.class_axis(evidence)
    if targets.kind in ("indices", "binary") and out.ndim > 1 and out.numel() // out.shape[axis] == y.numel():
        places = tuple(s for at, s in enumerate(out.shape) if at != axis)
        if int(y.max()) < out.shape[axis] and int(y.min()) >= 0:
            hot = F.one_hot(y.long().reshape(places), out.shape[axis]).movedim(-1, axis).to(out.dtype)
            chance = 0.9 * hot + 0.1 / out.shape[axis]
            return [(o, o.roll(1, axis)) for o in (8 * hot - 4, chance, chance.log())]
    return []


def _negated(loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda output, *target: -loss(output, *target)
