"""Sigmoids, one a class, for classes that exclude one another: nothing makes them compete.

    categorical cross-entropy reads only p_y: −ln σ(z_y) is 0 once every class says yes
    where the loss divides by Σ_k p_k first, that is mended, and a weak form of softmax is left: p_k ∝ σ(z_k)

Cao et al. 2022, "DeepFD: automated fault diagnosis and localization for deep learning programs".
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch

from convscope.checks import _output as shared
from convscope.diagnosing import changes
from convscope.diagnosing.calls import instead
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.suspicion import EXACT, HINT, STRONG, Suspicion
from convscope.fields import param, validate


@dataclass(frozen=True)
class ExclusiveSigmoids:
    """Are exclusive classes answered by independent sigmoids?

    Formula: one class an example, outputs (B, C) by a sigmoid each, and a categorical loss. Exact where the loss of saying
    yes to all classes is below `blind` of the best constant answer's: then it can fall to 0 and know nothing.
    Misleads: with a loss that normalises, or a yes-or-no loss for each class, this learns, if slower: then it is advice.
    Errors: none. Source: Cao et al. 2022.

    >>> from torch import nn
    >>> from convscope.diagnosing import given
    >>> net = nn.Sequential(nn.Linear(3, 4), nn.Sigmoid())
    >>> loss = lambda output, target: -output.log().gather(1, target[:, None]).mean()
    >>> program = given.program(net, (torch.rand(8, 3), torch.arange(8) % 4), loss)
    >>> [s.fault for s in ExclusiveSigmoids()(Evidence(program))]
    ['O6']
    """

    needs: ClassVar[str] = "program"
    blind: float = param(0.1, "loss of a yes to every class, over that of the best constant answer", low=0, high=1)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, evidence: Evidence) -> Iterator[Suspicion]:
        out, last = evidence.tensor, shared.closing(evidence)
        family = evidence.loss.family
        if out is None or out.ndim < 2 or last is None or last.op != "sigmoid" or evidence.loss.problem:
            return
        axis = shared.class_axis(evidence)
        known = family in (*shared.CATEGORICAL, "bce")
        if out.shape[axis] < 2 or evidence.targets.kind not in ("one-hot", "indices") or not known:
            return
        if evidence.loss.applies_softmax:
            return  # the loss's own softmax makes them compete; that the sigmoid is in its way is told by `placement`
        every = shared.loss_at(evidence, torch.full_like(out.detach(), 1 - 1e-6))
        constant = evidence.loss.constant
        blind = family != "bce" and math.isfinite(every) and every < self.blind * constant
        poor = shared.struggles(evidence)
        change = changes.calling({last.key: instead(lambda v: v.softmax(axis))}, "softmax for the sigmoids")
        how = ("the loss reads the probability of the right class alone, so that it falls to 0 by a yes to all of "
               "them" if blind else
               "each class is answered by itself, and what makes one larger does not make the others smaller; their ratio "
               "is "
               "bounded by the sigmoid, and saturates") if family != "bce" else (
               "each class is a question of yes or no, and most answers are no: the mean over the classes is mostly of "
               "those")  # fmt: skip
        yield Suspicion(
            "O6", EXACT if blind else STRONG if poor and family != "bce" else HINT,
            "the loss falls and the score stays that of chance" if blind else "learning is weak, slower than it should be",
            f"classes exclude one another, and each has a sigmoid of its own: {how}",
            "a softmax over the classes, or logits and the cross-entropy that applies it",
            {"loss of a yes to every "
             "class": every, "loss of the best constant answer": constant, "allowed share": self.blind,
             "classes": out.shape[axis]},
            shared.place(last), shared.lines(evidence, last, "softmax"), "an example may belong to several classes at once",
            change, harmless=not blind and not poor, shows=blind,
        )  # fmt: skip
