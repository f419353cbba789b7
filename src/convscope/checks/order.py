"""Do batches hold a mix of the classes, and does training see every class that is held out?

    runs R of equal labels in a row; by chance  E[R] = 1 + (N² − Σ n_c²)/N,  Var[R] ≈ (Σn_c²(Σn_c² + N + N²) − 2NΣn_c³ −
    N³)/(N²(N−1)) z = (R − E[R])/√Var[R]      (Wald & Wolfowitz 1940; several classes: Barton & David 1957)
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from convscope.checks._data import graded, labels, listed
from convscope.diagnosing import changes
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.program import Program
from convscope.diagnosing.suspicion import EXACT, HINT, LIKELY, STRONG, Suspicion
from convscope.fields import param, validate

WINDOW = 8  # examples that smaller batches are taken together to: one alone is never a mix


@dataclass(frozen=True)
class Order:
    """Are examples trained on in sorted batches, or classes held out that training never sees?

    Where batches are not shuffled, the labels' order (N,) is tested: runs of equal labels against chance (z below −`far`),
    and how much of the labels' entropy one batch holds. Numbers: correlation of neighbours. Held-out classes that no
    training example has are counted in any case.

    Misleads for sequences whose order is meant (stateful recurrent nets); a full batch has no order. Errors: none.
    Source: Wald & Wolfowitz 1940; Barton & David 1957; Bottou 2012, "Stochastic gradient descent tricks", 4.1.

    >>> from convscope.diagnosing import given
    >>> data = (torch.rand(90, 2), torch.arange(90) // 30)
    >>> words = {"batch_size": 10, "shuffle": False, "epochs": 2}
    >>> program = given.program(torch.nn.Linear(2, 3), data, "cross-entropy", "sgd:0.1", **words)
    >>> [s.fault for s in Order()(Evidence(program, seconds=0.1))]
    ['D9']
    """

    needs: ClassVar[str] = "program"
    far: float = param(6.0, "standard deviations from chance that the number of runs is told from", low=2)
    mixed: float = param(0.5, "a batch that holds less than this share of the labels' entropy is not mixed", low=0, high=1)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, evidence: Evidence) -> Iterator[Suspicion]:
        yield from self._batches(evidence)
        yield from self._held_out(evidence)

    def _batches(self, evidence: Evidence) -> Iterator[Suspicion]:
        e, y = evidence.program.examples, labels(evidence)
        if e.shuffled or e.epochs or e.y is None or len(e) <= 2 * e.batch or evidence.loss.problem:
            return
        if y is None:
            yield from self._numbers(evidence)
            return
        kinds = y.cpu().numpy()
        z, runs, expected = runs_test(kinds)
        share = batch_entropy(kinds, max(e.batch, WINDOW))
        if not (z < -self.far and share < self.mixed):
            return
        yield Suspicion(
            "D9", max(graded(evidence), LIKELY), "the loss is a sawtooth, and only the classes seen last are predicted",
            f"batches are taken in order, and the order is by class: {runs} runs of equal labels where {expected:.0f} "
            "are by chance. Each batch pulls the weights towards its own class and forgets the others",
            "shuffle the examples in every epoch",
            {"runs": float(runs), "by chance": expected, "z": z, "at least": -self.far, "entropy in a batch, share": share,
             "needed": self.mixed},
            where="batches", code="- DataLoader(data, batch_size)\n+ DataLoader(data, batch_size, shuffle=True)",
            disproof="the loss is no smoother and no lower when shuffled", change=changes.shuffled(),
        )  # fmt: skip

    def _numbers(self, evidence: Evidence) -> Iterator[Suspicion]:
        e = evidence.program.examples
        if e.y is None or evidence.targets.kind != "values" or e.y.numel() != len(e) or not evidence.targets.finite:
            return
        y = e.y.double().reshape(-1)
        beside = float(torch.corrcoef(torch.stack([y[:-1], y[1:]]))[0, 1]) if float(y.std()) > 0 else 0.0
        within = y[: len(y) // e.batch * e.batch].reshape(-1, e.batch).var(1, unbiased=False).mean() / y.var(unbiased=False)
        if beside * math.sqrt(len(y)) < self.far or float(within) > self.mixed:
            return
        ordered = bool((y.diff() >= 0).all() or (y.diff() <= 0).all())
        yield Suspicion(
            "D9", min(graded(evidence), STRONG if ordered else LIKELY), "the loss is a sawtooth",
            f"batches are taken in order, and neighbours' targets are alike (correlation {beside:.2f}): a batch spans "
            f"{float(within):.0%} of the targets' variance, and pulls all answers towards its own mean",
            "shuffle the examples in every epoch (a time series is cut into windows first, and the windows are shuffled)",
            {"correlation of neighbours": beside, "by chance below": self.far / math.sqrt(len(y)),
             "variance within a batch, share": float(within), "needed": self.mixed},
            where="batches", code="- DataLoader(data, batch_size)\n+ DataLoader(data, batch_size, shuffle=True)",
            disproof="the loss is no smoother and no lower when shuffled", change=changes.shuffled(),
            harmless=graded(evidence) <= HINT,
        )  # fmt: skip

    def _held_out(self, evidence: Evidence) -> Iterator[Suspicion]:
        held = evidence.program.held_out
        seen, asked = labels(evidence), None if held is None else labels(evidence, held)
        if held is None or seen is None or asked is None:
            return
        never = sorted(set(asked.tolist()) - set(seen.tolist()))
        lost, total = int(sum((asked == c).sum() for c in never)), evidence.program.examples.total
        sampled = total is not None and total > len(seen)  # then a rare class may have been passed over
        if not never or (sampled and lost < 0.05 * len(asked)):
            return
        yield Suspicion(
            "D9", EXACT, "high accuracy in training, none on held-out examples",
            f"{lost:,} of {len(asked):,} held-out examples are of classes ({listed([str(c) for c in never])}) that no "
            "training example has: the data is sorted by class, and its end was held out",
            "shuffle before splitting, or split each class alike (stratified)",
            {"held-out examples of classes never trained on": float(lost), "of": float(len(asked)), "allowed": 0.0},
            where="split", code="- validation_split=0.2\n+ train_test_split(x, y, test_size=0.2, stratify=y, shuffle=True)",
            disproof="every held-out class is in the training set", shows=lost >= 0.05 * len(asked),
            change=changes.rewritten(resplit, "split anew, at random"),
        )  # fmt: skip


def runs_test(kinds: NDArray[np.int64]) -> tuple[float, int, float]:
    """z, runs, runs expected by chance."""
    n = len(kinds)
    runs = 1 + int(np.count_nonzero(kinds[1:] != kinds[:-1]))
    _, counts = np.unique(kinds, return_counts=True)
    two, three = float((counts.astype(float) ** 2).sum()), float((counts.astype(float) ** 3).sum())
    expected = 1 + (n * n - two) / n
    variance = (two * (two + n + n * n) - 2 * n * three - n**3) / (n * n * (n - 1)) if n > 1 else 0.0
    return (runs - expected) / math.sqrt(variance) if variance > 0 else 0.0, runs, expected


def batch_entropy(kinds: NDArray[np.int64], batch: int) -> float:
    """Mean entropy of the labels in a batch, over that of batches of the same size drawn at random (seed 0)."""

    def mean(of: NDArray[np.int64]) -> float:
        found = []
        for a in range(0, len(of) - batch + 1, batch):
            p = np.unique(of[a : a + batch], return_counts=True)[1] / batch
            found.append(float(-(p * np.log(p)).sum()))
        return float(np.mean(found)) if found else 0.0

    chance = mean(np.random.default_rng(0).permutation(kinds))
    return mean(kinds) / chance if chance > 0 else 1.0


def resplit(program: Program) -> Program:
    """Training and held-out examples thrown together and split at random (seed 0) into parts of the same sizes."""
    e, held = program.examples, program.held_out
    if held is None:
        return program
    x = torch.cat([e.x, held.x])
    y = None if e.y is None or held.y is None else torch.cat([e.y, held.y])
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(x)))
    a, b = order[: len(e)], order[len(e) :]
    return replace(
        program,
        examples=replace(e, x=x[a], y=None if y is None else y[a], epochs=(), again=None, once=None),
        held_out=replace(held, x=x[b], y=None if y is None else y[b]),
    )
