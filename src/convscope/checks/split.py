"""Were training and held-out examples prepared alike, and are they different examples?

    by feature j:  d_j = |m_held − m_train|/s_train,   r_j = |ln(s_held/s_train)|
    d_j is noise of size √(1/n + 1/N) where both come from one distribution; half a standard deviation is no noise

D13: the same input (by a digest of its values) on both sides.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope.checks._data import Features, augmented, features, prints, spread_out
from convscope.diagnosing import changes
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.examples import Examples
from convscope.diagnosing.program import Program
from convscope.diagnosing.suspicion import EXACT, HINT, STRONG, Suspicion
from convscope.fields import param, validate

FEW = 30  # held-out examples below which nothing is said of their statistics


@dataclass(frozen=True)
class Split:
    """Are held-out examples prepared like the training's, and none of them in both?

    By feature (column, channel): shift d and log ratio of the spreads r, between training x (N, …) and held-out (n, …).
    Where the median over features of d or r is above `shift`, the held-out inputs are mapped to the training's statistics
    and judged anew: a score that rises shows it. Copies: digests of inputs that both hold, beyond what repeats in training.

    Misleads for held-out data that is of another kind on purpose. Tables of few values repeat by nature. Errors: none.
    Source: Kaufman, Rosset, Perlich 2011, "Leakage in data mining"; Moreno-Torres et al. 2012, "dataset shift".

    >>> from convscope.diagnosing import given
    >>> x, y = torch.rand(80, 3), torch.arange(80) % 2
    >>> program = given.program(torch.nn.Linear(3, 2), (x, y), "cross-entropy", "sgd:0.1", held_out=(x[:40], y[:40]))
    >>> [s.fault for s in Split()(Evidence(program, seconds=0.1))]
    ['D13']
    """

    needs: ClassVar[str] = "program"
    shift: float = param(0.5, "a median shift, or log ratio of spreads, above this is another preparation", low=0)
    copies: float = param(0.05, "share of held-out examples that may be in the training set", low=0, high=1)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, evidence: Evidence) -> Iterator[Suspicion]:
        e, held = evidence.program.examples, evidence.program.held_out
        if held is None or e.x.shape[1:] != held.x.shape[1:] or e.x.is_complex() or e.x.dtype != held.x.dtype:
            return
        yield from self._copies(e, held)
        if e.x.is_floating_point() or e.x.dtype == torch.uint8:
            yield from self._prepared(evidence, e, held)

    def _copies(self, e: Examples, held: Examples) -> Iterator[Suspicion]:
        ours, theirs = prints(e.x), prints(held.x)
        known = set(ours)
        share = sum(p in known for p in theirs) / len(theirs)
        within = 1 - len(known) / len(ours)
        if share <= max(self.copies, 2 * within) or len(theirs) < 10:
            return
        keep = torch.tensor([p not in known for p in theirs])
        yield Suspicion(
            "D13", EXACT, "held-out scores are too good to be true",
            f"{share:.0%} of {len(theirs):,} held-out examples are in the training set: their score measures memory",
            "split anew by example (or by group, where examples come from one source), after dropping copies",
            {"held-out examples in training, share": share, "allowed": self.copies, "repeats within training, share": within,
             "examples compared": float(len(ours))},
            where="split", code="+ x, kept = np.unique(x, axis=0, return_index=True)\n+ train, held_out = "
            "train_test_split(...)",
            disproof="the held-out score stays without the copies", shows=share > 2 * self.copies,
            change=changes.rewritten(lambda p: _kept(p, keep), "copies dropped") if bool(keep.any()) else None,
        )  # fmt: skip

    def _prepared(self, evidence: Evidence, e: Examples, held: Examples) -> Iterator[Suspicion]:
        if len(held) < FEW or len(e) < FEW or augmented(e):  # such readings are meant to differ
            return
        fits = {name: _fit(e.x, held.x, name) for name in ("features", "positions")}
        moved, spread = fits["features"].moved
        noise = math.sqrt(1 / len(e) + 1 / len(held))
        if not max(moved, spread) > max(self.shift, 6 * noise):
            return
        trained = evidence.trial.program or evidence.twin
        raw = evidence.judge(replace(trained, examples=held))
        scores = {name: evidence.judge(replace(trained, examples=replace(held, x=f(held.x)))) for name, f in fits.items()}
        best = max(scores, key=lambda name: np.nan_to_num(scores[name].share, nan=-math.inf))
        gain = scores[best].share - raw.share
        shown = math.isfinite(gain) and gain > 0.1
        copes = raw.learned and not shown
        yield Suspicion(
            "D11", EXACT if shown else HINT if copes else STRONG,
            "held-out inputs are not like training's, and scores cope" if copes
            else "held-out scores are far below training from the begin",
            f"held-out inputs lie {moved:.2g} standard deviations from the training's, and their spread is another by "
            "a factor "
            f"of {math.exp(spread):.3g} (medians over features): both were not prepared in the same way",
            "put one transform, with the training set's statistics, before training and before every use",
            {"shift of means (median, in standard deviations)": moved, "log ratio of spreads (median)": spread,
             "at most": self.shift, f"held-out {raw.metric}": raw.value,
             "the same, with training's statistics": scores[best].value},
            where="held-out inputs", code="+ mean, std = x_train.mean(0), x_train.std(0)\n+ x_test = (x_test - mean) / std",
            disproof="held-out scores stay when the same transform is applied",
            shows=shown, harmless=copes,
            change=changes.rewritten(lambda p: _matched(p, fits[best]), "held-out inputs prepared alike"),
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Fit:
    """Held-out inputs → the training's mean and spread: by feature, or by position (pixel by pixel)."""

    train: Features
    held: Features
    flat: bool

    @property
    def use(self) -> NDArray[np.bool_]:
        return self.train.varies & self.held.varies

    @property
    def moved(self) -> tuple[float, float]:
        """Medians over features of shift and log ratio of spreads; NaN where nothing varies on both sides."""
        a, b, use = self.train, self.held, self.use
        if not use.any():
            return math.nan, math.nan
        d, r = np.abs(b.mean - a.mean)[use] / a.std[use], np.abs(np.log(b.std[use] / a.std[use]))
        return float(np.median(d)), float(np.median(r))

    def __call__(self, x: Tensor) -> Tensor:
        rows = x.reshape(len(x), -1) if self.flat else x
        axes = changes.feature_axes(rows)
        shape = [1 if k in axes else rows.shape[k] for k in range(rows.ndim)]
        a, b, use = self.train, self.held, self.use
        gain = np.divide(a.std, b.std, out=np.ones_like(a.std), where=use)
        by, to, of = (torch.from_numpy(v).reshape(shape) for v in (gain, np.where(use, a.mean, 0), np.where(use, b.mean, 0)))
        new = ((rows.double() - of) * by + to).reshape(x.shape)
        return new.to(x.dtype if x.is_floating_point() else torch.float32)


def _fit(train: Tensor, held: Tensor, by: str) -> _Fit:
    flat = by == "positions"
    a, b = (features(v.reshape(len(v), -1) if flat else v) for v in (spread_out(train), spread_out(held)))
    return _Fit(a, b, flat)


def _matched(program: Program, fit: _Fit) -> Program:
    held = program.held_out
    return program if held is None else replace(program, held_out=replace(held, x=fit(held.x)))


def _kept(program: Program, keep: Tensor) -> Program:
    held = program.held_out
    if held is None or len(held) != len(keep):
        return program
    return replace(program, held_out=replace(held, x=held.x[keep], y=None if held.y is None else held.y[keep]))
