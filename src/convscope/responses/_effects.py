"""What ablation adds up over batches: each class's output and the accuracy, with and without a unit; and whom to ask."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope.responses._study import Study

MOST = 3  # classes named in a cell
Columns = tuple[dict[str, NDArray[Any]], dict[str, str]]


def sample(labels: NDArray[np.int64], most: int, seed: int) -> NDArray[np.int64]:
    """Numbers of at most `most` images, sorted: the classes in turn, at random within each; unlabelled ones are one class.

    >>> sample(np.array([0, 0, 0, 0, 1, 1]), 4, 0)[-2:].tolist()
    [4, 5]
    """
    if len(labels) <= most:
        return np.arange(len(labels))
    rng = np.random.default_rng(seed)
    turn = np.empty(len(labels))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        turn[rng.permutation(members)] = np.arange(len(members))
    # Within a round the classes come in random order, so that none is favoured where the last round is cut short.
    return np.sort(np.lexsort((rng.random(len(labels)), turn))[:most])


def labels_of(study: Study) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """(N,) the output that each image's label means, −1 unknown, and a sentence where that is not sure."""
    labels, classes = study.collection.labels, study.collection.classes
    count = study.net.output.output_shape[1]
    known = study.net.classes
    if not (labels >= 0).any():
        return labels, ("the images have no labels: no accuracy",)
    if len(classes) == count:
        return labels, ()
    if known and set(classes) <= set(known):
        return np.where(labels >= 0, np.array([known.index(c) for c in classes])[labels], -1), ()
    return np.full(len(labels), -1), (f"no accuracy: the images have {len(classes)} classes, the network {count} outputs",)


class Effects:
    """Sums over images, in float64."""

    def __init__(self, units: int, classes: int) -> None:
        self.batches = self.images = 0
        self.change = torch.zeros(units, classes, dtype=torch.float64)  # Σ over images of y(ablated) − y
        self.own = torch.zeros(units, classes, dtype=torch.float64)  # the same over the class's own images
        self.right = torch.zeros(units, classes, dtype=torch.float64)  # images of each class that are told right
        self.before = torch.zeros(classes, dtype=torch.float64)  # the same with the unit
        self.level = torch.zeros(classes, dtype=torch.float64)  # Σ y
        self.shown = torch.zeros(classes, dtype=torch.float64)  # images of each class
        self.output = torch.zeros(0)

    def clean(self, output: Tensor, labels: NDArray[np.int64]) -> None:
        """A new batch (B, K)."""
        self.output = output
        self.batches, self.images = self.batches + 1, self.images + len(output)
        self.level += output.sum(0)
        self.before += self._right(output, labels)
        self.shown += self._count(torch.from_numpy(labels), torch.ones(len(labels), dtype=torch.float64))

    def add(self, row: int, output: Tensor, labels: NDArray[np.int64]) -> None:
        """The same batch without a unit."""
        change = output - self.output
        target = torch.from_numpy(labels)
        self.change[row] += change.sum(0)
        self.own[row] += self._count(target, change.gather(1, target.clamp(min=0)[:, None])[:, 0])
        self.right[row] += self._right(output, labels)

    def _right(self, output: Tensor, labels: NDArray[np.int64]) -> Tensor:
        target = torch.from_numpy(labels)
        return self._count(target, (output.argmax(1) == target).double())

    def _count(self, target: Tensor, what: Tensor) -> Tensor:
        known = target >= 0
        return torch.zeros(len(self.level), dtype=torch.float64).index_add_(0, target[known], what[known])

    def by_unit(self, names: NDArray[Any]) -> Columns:
        """One row a unit."""
        change = (self.change / self.images).numpy()
        order = np.argsort(change, axis=1, kind="stable")
        seen = float(self.shown.sum())
        accuracy = np.full(len(change), np.nan) if seen == 0 else ((self.right - self.before).sum(1) / seen).numpy()
        most = min(MOST, change.shape[1])
        columns = {
            "unit": np.arange(len(change)),
            "mean_change": np.abs(change).mean(1), "accuracy_change": accuracy,
            "fall": np.minimum(change.min(1), 0), "falls": _words(change, order[:, :most], names, -1),
            "rise": np.maximum(change.max(1), 0), "rises": _words(change, order[:, ::-1][:, :most], names, 1)}
        return columns, {
            "mean_change": "mean over classes of the absolute change of their outputs, each a mean over the images",
            "accuracy_change": f"accuracy without the unit less that with it ({_share(self.before.sum(), seen)}), −1 … 1",
            "fall": "largest fall of a class's output", "falls": f"the {most} classes that fall most, the most first",
            "rise": "largest rise of a class's output", "rises": f"the {most} classes that rise most, the most first"}

    def by_class(self, names: NDArray[Any]) -> Columns:
        """One row a class, of the only unit."""
        shown = self.shown.numpy()

        def per_image(total: Tensor) -> NDArray[np.float64]:
            return np.divide(total.numpy(), shown, out=np.full(len(shown), np.nan), where=shown > 0)

        columns = {"class": names, "output": (self.level / self.images).numpy(),
                   "change": (self.change[0] / self.images).numpy(), "own_change": per_image(self.own[0]),
                   "images": shown.astype(np.int64), "accuracy": per_image(self.before), "without": per_image(self.right[0])}
        return columns, {
            "output": "mean output of the class over all sampled images", "change": "how it changes without the unit",
            "own_change": "the same over the images of the class", "images": "how many those are",
            "accuracy": "share of them told right, with the unit, 0 … 1", "without": "and without it"}


def _words(change: NDArray[np.float64], order: NDArray[np.int64], names: NDArray[Any], sign: int) -> NDArray[Any]:
    """'3 cat (−1.2), 5 dog (−0.4)': only classes that move that way."""
    rows = [", ".join(f"{names[k]} ({row[k]:+.3g})".replace("-", "−") for k in ks if sign * row[k] > 0) or "—"
            for row, ks in zip(change, order, strict=True)]
    return np.array(rows)


def _share(right: Tensor, seen: float) -> str:
    return f"{float(right) / seen:.1%} of {seen:.0f} images" if seen else "not known"
