"""Is one class so rare that it is not learned?

    L = (1/N) Σ_i ℓ_i = Σ_c (n_c/N) · mean of class c      a class of share p moves the weights by p of the gradient
    balanced: (1/K) Σ_c mean of class c                     (weights N/(K·n_c); King & Zeng 2001)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from convscope.checks._data import labels
from convscope.diagnosing import changes
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.program import left_alone
from convscope.diagnosing.score import predictions
from convscope.diagnosing.suspicion import HINT, LIKELY, STRONG, Suspicion
from convscope.diagnosing.trial import answer
from convscope.fields import param, validate


@dataclass(frozen=True)
class Balance:
    """Is one class so rare that the network does not learn it?

    Of the class counts n_c over N examples: max/min. Where it is above `ratio`, the recall of each class (share of its
    examples that the shortly trained network gets right) is measured; rare classes that lag make it a fault.

    Misleads where rare classes are rare in use too and a plain accuracy is what counts. Errors: none.
    Source: King & Zeng 2001, "Logistic regression in rare events data"; He & Garcia 2009, "Learning from imbalanced data".

    >>> from convscope.diagnosing import given
    >>> y = (torch.arange(200) % 40 == 0).long()
    >>> program = given.program(torch.nn.Linear(2, 2), (torch.rand(200, 2), y), "cross-entropy", "sgd:0.1", epochs=2)
    >>> [s.fault for s in Balance()(Evidence(program, seconds=0.1))]
    ['D8']
    """

    needs: ClassVar[str] = "program"
    ratio: float = param(10.0, "the largest class has so many times the examples of the smallest", low=1)
    lag: float = param(0.5, "a rare class's recall below this share of the others' lags", low=0, high=1)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, evidence: Evidence) -> Iterator[Suspicion]:
        y, found = labels(evidence), evidence.targets.counts
        if y is None or found is None or evidence.tensor is None or evidence.loss.problem:
            return
        counts = found[found > 0]
        if len(counts) < 2:
            return
        skew = float(counts.max() / counts.min())
        recall = self._recall(evidence, y)
        one = evidence.after.answers == 1 and evidence.after.metric == "accuracy"
        if skew < self.ratio and not (one and evidence.targets.majority > 0.7):
            return
        rare = found > 0
        rare &= found * self.ratio <= found.max() if skew >= self.ratio else found < found.max()
        known = np.isfinite(recall)
        few = float(np.mean(recall[rare & known])) if (rare & known).any() else math.nan
        many = float(np.mean(recall[~rare & known & (found > 0)])) if (~rare & known & (found > 0)).any() else math.nan
        lags = few < self.lag * many
        if skew < self.ratio:
            strength = HINT
        else:
            strength = (STRONG if skew >= 2 * self.ratio else LIKELY) if lags else HINT
        yield Suspicion(
            "D8", strength,
            "only the most frequent class is predicted" if one else "rare classes are not recognised" if lags
            else "the classes are imbalanced, and training copes",
            f"the largest class has {skew:.3g} times the examples of the smallest; the loss is a mean over examples, "
            "so rare classes hardly move the weights, and a plain accuracy does not show it",
            "weight the loss by N/(K·count of the class) or sample classes evenly, and look at the balanced accuracy",
            {"largest over smallest class": skew, "at most": self.ratio, "share of the largest": evidence.targets.majority,
             "recall of rare classes": few, "recall of the others": many, "allowed share": self.lag},
            where="labels",
            code="- loss = nn.CrossEntropyLoss()\n+ weight = len(y) / (K * torch.bincount(y))\n+ loss = "
            "nn.CrossEntropyLoss(weight=weight)",
            disproof="with weighted classes the rare ones are recognised no better",
            change=changes.wrapping(balanced, "every class counts alike"), harmless=not lags,
        )  # fmt: skip

    def _recall(self, evidence: Evidence, y: Tensor) -> np.ndarray:
        """(K,) of the trial's program, on examples spread over the classes; NaN where it cannot be said."""
        classes = len(evidence.targets.counts if evidence.targets.counts is not None else [])
        found = np.full(classes, math.nan)
        program = evidence.trial.program or evidence.twin
        most = max(8, evidence.affordable(program, 0.15, 32) // max(classes, 1))
        picked = [torch.nonzero(y == c).reshape(-1)[:most] for c in range(classes)]
        index = torch.cat(picked) if picked else torch.zeros(0, dtype=torch.long)
        if not len(index):
            return found
        with left_alone():
            try:
                out = answer(program, program.examples.x[index].to(program.device))
            except (RuntimeError, ValueError, IndexError, TypeError):  # it raises: another check's part
                return found
        said = predictions(out, evidence.targets, evidence.loss, evidence.last) if isinstance(out, Tensor) else None
        if said is None or said.numel() != len(index):
            return found
        right = (said.reshape(-1).cpu() == y[index].cpu()).double()
        for c in range(classes):
            of = y[index] == c
            if bool(of.any()):
                found[c] = float(right[of].mean())
        return found


def balanced(loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The mean over the classes of the batch of each one's own mean loss."""

    def weighted(output: Tensor, target: Tensor) -> Tensor:
        hot = target.ndim == 2 and target.shape[1] > 1
        kinds = target.argmax(1) if hot else target.reshape(len(target))
        parts = [loss(output[kinds == c], target[kinds == c]) for c in torch.unique(kinds)]
        return torch.stack(parts).mean()

    return weighted
