"""What do the labels say? Classes by number, one-hot rows, yes or no for each output, values; and how they are spread."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

DISTINCT = 200  # more integer values than this are taken for quantities, unless torch's index type says otherwise


@dataclass(frozen=True, eq=False)
class Targets:
    """`kind`: 'indices', 'one-hot', 'multi-hot', 'binary', 'values', 'shares' (rows that sum to 1), or 'none'."""

    kind: str
    shape: tuple[int, ...] = ()  # of one example
    classes: int = 0  # how many there are
    counts: NDArray[np.int64] | None = None  # examples (positions) of each class
    low: float = 0.0
    high: float = 0.0
    mean: float = 0.0
    std: float = 0.0
    distinct: int = 0
    floating: bool = False
    finite: bool = True

    @property
    def exclusive(self) -> bool:
        """One class an example?"""
        return self.kind in ("indices", "one-hot") or (self.kind == "binary" and self.numbers == 1)

    @property
    def numbers(self) -> int:
        """Numbers an example."""
        return int(np.prod(self.shape)) if self.shape else 1

    @property
    def majority(self) -> float:
        """The share of the most frequent class."""
        return float(self.counts.max() / self.counts.sum()) if self.counts is not None and self.counts.sum() else 0.0

    @property
    def entropy(self) -> float:
        """Of the classes, in nats: the cross-entropy of who always says the prior."""
        if self.counts is None or not self.counts.sum():
            return 0.0
        p = self.counts[self.counts > 0] / self.counts.sum()
        return float(-(p * np.log(p)).sum())


def look(y: Tensor | None) -> Targets:
    """Read targets.

    >>> look(torch.tensor([0, 2, 1, 2])).classes, look(torch.eye(3)).kind, look(torch.rand(9)).kind
    (3, 'one-hot', 'values')
    """
    if y is None:
        return Targets("none")
    flat = y.detach().double().reshape(len(y), -1) if not y.is_complex() else y.abs().double().reshape(len(y), -1)
    finite = bool(torch.isfinite(flat).all())
    good = flat[torch.isfinite(flat).all(1)]
    if not len(good):
        return Targets("values", tuple(y.shape[1:]), finite=False, floating=y.is_floating_point())
    values = torch.unique(good)
    spread = {"low": float(good.min()), "high": float(good.max()), "mean": float(good.mean()),
              "std": float(good.std(unbiased=False)), "distinct": len(values), "floating": y.is_floating_point(),
              "finite": finite, "shape": tuple(y.shape[1:])}  # fmt: skip
    whole = bool((values == values.round()).all())
    bits = whole and len(values) <= 2 and set(values.tolist()) <= {0.0, 1.0}
    if bits and y.ndim >= 2 and y.shape[1] > 1 and y.ndim == 2:
        sums = good.sum(1)
        if bool((sums == 1).all()):
            return Targets("one-hot", classes=y.shape[1], counts=good.sum(0).long().numpy(), **spread)
        return Targets("multi-hot", classes=y.shape[1], **spread)
    if bits and len(values) == 2 and (y.is_floating_point() or y.dtype == torch.bool or y.ndim == 1 or y.shape[1:] == (1,)):
        ones = int(good.sum())
        return Targets("binary", classes=2, counts=np.array([good.numel() - ones, ones]), **spread)
    if y.ndim == 2 and y.shape[1] > 1 and bool((good >= 0).all()) and bool(((good.sum(1) - 1).abs() < 1e-5).all()):
        return Targets("shares", classes=y.shape[1], counts=good.sum(0).round().long().numpy(), **spread)
    index = not y.is_floating_point() and y.dtype != torch.bool
    if not index and y.ndim > 1 and y[0].numel() > 1:
        return Targets("values", **spread)  # several whole numbers an example: pixels or counts, not classes
    if whole and float(values.min()) >= 0 and (index or len(values) <= 20) and len(values) <= DISTINCT \
            and (index or _few(values, good.numel())):  # fmt: skip
        counts = torch.bincount(good.reshape(-1).long())
        return Targets("indices", classes=len(counts), counts=counts.numpy(), **spread)
    return Targets("values", **spread)


def _few(values: Tensor, numbers: int) -> bool:
    """Whole floating values are classes where they are 0 … K−1 without gaps, each of them several times."""
    return bool((values == torch.arange(len(values))).all()) and (numbers >= 3 * len(values) or len(values) <= 5)
