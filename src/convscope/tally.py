"""What one layer's units did over a collection, in bounded memory and mergeable to the same bits in any order of shards.

Per unit: the k strongest images (value, image, position), mean and variance, extremes, a histogram for quantiles,
per-class means.

Top-k, extremes, counts and histograms merge exactly whatever the order. Sums of floats do not, so moments and class sums are
kept per *batch of the collection* and added up in a fixed binary tree over batch numbers: buddies (2i, 2i + 1) merge as
soon as both are there, hence at most log₂(batches) partial sums are alive, and one process, two shards, or a resumed run
give the same bits.

Mean and variance of two parts (Chan, Golub, LeVeque 1983): δ = m_b − m_a, m = m_a + δ·n_b/n, M₂ = M₂a + M₂b + δ²·n_a·n_b/n.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope.glance import Glance, look, position

Arrays = dict[str, NDArray[Any]]

MANTISSA_BITS = 3  # 8 bins per octave: a quantile is within 6.25 % of the true value
_OCTAVES = 32  # 2⁻¹⁶ … 2¹⁶; beyond, the outermost bins
_SIDE = _OCTAVES << MANTISSA_BITS
BINS = 2 * _SIDE + 1  # negative, zero, positive
SAMPLES = 4096  # values of a unit that its histogram should hold at least, where the collection has so many
POSITIONS = 4, 64  # sampled per image: at least, at most


def positions_for(images: int) -> int:
    """How many positions of each map are sampled for the histogram: more where there are few images.

    >>> positions_for(28), positions_for(60_000)
    (64, 4)
    """
    return min(max(-(-SAMPLES // max(images, 1)), POSITIONS[0]), POSITIONS[1])


class Tree:
    """Partial sums by (level, index), merged in an order that depends on the batch numbers alone."""

    def __init__(self) -> None:
        self.parts: dict[tuple[int, int], Arrays] = {}

    def add(self, batch: int, part: Arrays) -> None:
        self._put(0, batch, part)

    def _put(self, level: int, index: int, part: Arrays) -> None:
        buddy = (level, index ^ 1)
        if buddy in self.parts:
            other = self.parts.pop(buddy)
            first, second = (part, other) if index % 2 == 0 else (other, part)
            self._put(level + 1, index // 2, merge_moments(first, second))
        else:
            self.parts[level, index] = part

    def merge(self, other: Tree) -> None:
        """Take over the parts of another shard (of other batches)."""
        for (level, index), part in sorted(other.parts.items()):
            self._put(level, index, part)

    def total(self) -> Arrays | None:
        """All parts in the order of their batches."""
        ordered = sorted(self.parts.items(), key=lambda item: item[0][1] << item[0][0])
        result: Arrays | None = None
        for _, part in ordered:
            result = part if result is None else merge_moments(result, part)
        return result


def merge_moments(a: Arrays, b: Arrays) -> Arrays:
    """Chan's formula for count, mean and M₂ per unit; plain sums for the rest."""
    n = a["count"] + b["count"]
    delta = b["mean"] - a["mean"]
    share = np.divide(b["count"], n, out=np.zeros_like(n), where=n > 0)
    merged = {"count": n, "mean": a["mean"] + delta * share, "m2": a["m2"] + b["m2"] + delta**2 * a["count"] * share}
    return merged | {k: a[k] + b[k] for k in a if k not in merged}


class Tally:
    """One layer's running numbers. `U` units, k strongest images, K classes (0: labels unknown)."""

    def __init__(self, units: int, k: int, classes: int, full: bool = True, positions: int = POSITIONS[0]) -> None:
        self.units, self.k, self.classes, self.full, self.positions = units, k, classes, full, positions
        self.value = np.full((units, k), -np.inf, np.float32)  # strongest responses, falling
        self.image = np.full((units, k), -1, np.int64)  # where they were: image number …
        self.position = np.full((units, k), -1, np.int64)  # … and flat position of the maximum in the map
        self.minimum = np.full(units, np.inf, np.float32)
        self.histogram = torch.zeros(units * BINS, dtype=torch.int32) if full else torch.zeros(0, dtype=torch.int32)
        self.tree = Tree()

    # ---- one batch ---------------------------------------------------------------------------------------------------

    def update(
        self,
        value: Tensor,
        batch: int,
        index: NDArray[np.int64],
        labels: NDArray[np.int64],
        moments: bool = True,
        before: Glance | None = None,
    ) -> Glance:
        """Take in `value` (B, U, …) of the images `index`; returns what was seen of it.

        `before`: what was seen of the layer that this one is the ReLU of, where that was looked at in the same batch.
        """
        full = self.full and moments
        seen = look(value, moments, low=full, before=before)
        self._rank(value, seen, index)
        if seen.means is None or seen.variances is None:
            return seen
        part = _of_batch(seen.means, seen.variances, value[0, 0].numel())
        if full:
            assert seen.lows is not None
            self.minimum = np.minimum(self.minimum, seen.lows.amin(0).float().numpy())
            self._sample(value if value.ndim > 2 else value[:, :, None], index)
            if self.classes:
                part |= self._by_class(seen.means, labels)
        self.tree.add(batch, part)
        return seen

    def _rank(self, value: Tensor, seen: Glance, index: NDArray[np.int64]) -> None:
        """Merge this batch's maxima into the k strongest. Ties go to the smaller image number, then the first position."""
        scores = seen.rows.amax(1).float().T.numpy()  # (U, B)
        rows = np.flatnonzero((scores >= self.value[:, -1:]).any(1))  # units with a newcomer
        if rows.size == 0:
            return
        among = np.concatenate([self.value[rows], scores[rows]], axis=1)
        images = np.concatenate([self.image[rows], np.broadcast_to(index, (rows.size, index.size))], axis=1)
        images_last = np.where(images < 0, np.iinfo(np.int64).max, images)
        order = np.lexsort((images_last, -among), axis=1)[:, : self.k]
        values = np.take_along_axis(among, order, 1)
        known = np.concatenate([self.position[rows], np.full((rows.size, index.size), -1)], axis=1)
        positions = np.take_along_axis(known, order, 1)
        at_row, at_rank = np.nonzero(order >= self.k)  # newcomers: only their maps are searched for the position
        if at_row.size:
            positions[at_row, at_rank] = position(value, seen, order[at_row, at_rank] - self.k, rows[at_row])
        self.value[rows], self.position[rows] = values, positions
        self.image[rows] = np.take_along_axis(images, order, 1)

    def _sample(self, maps: Tensor, index: NDArray[np.int64]) -> None:
        """Histogram of a few positions per image, chosen by the image's number alone, spread by the golden ratio."""
        flat = (
            maps.flatten(2)
            if maps.is_contiguous()
            else maps.permute(0, *range(2, maps.ndim), 1).flatten(1, -2).transpose(1, 2)
        )
        count = flat.shape[2]
        take = min(self.positions, count)
        steps = (index[:, None] * self.positions + np.arange(take)[None]) * 0.6180339887498949
        where = torch.from_numpy((np.modf(steps)[0] * count).astype(np.int64))  # (B, P)
        rows = torch.arange(flat.shape[0])[:, None]
        picked = flat.transpose(1, 2)[rows, where]  # (B, P, U)
        bins = bin_of(picked.float()).reshape(-1, self.units)
        bins += torch.arange(self.units, dtype=bins.dtype) * BINS
        flat_bins = bins.reshape(-1).long()
        self.histogram.scatter_add_(0, flat_bins, torch.ones_like(flat_bins, dtype=torch.int32))

    def _by_class(self, means: NDArray[np.float64], labels: NDArray[np.int64]) -> Arrays:
        sums = np.zeros((self.classes, self.units))
        seen = np.zeros((self.classes, 1))
        known = labels >= 0
        np.add.at(sums, labels[known], means[known])
        np.add.at(seen, labels[known], 1.0)
        return {"class_sum": sums, "class_count": seen}

    # ---- shards and disk ---------------------------------------------------------------------------------------------

    def merge(self, other: Tally) -> None:
        """Take in another shard of the same collection."""
        among = np.concatenate([self.value, other.value], 1)
        images = np.concatenate([self.image, other.image], 1)
        order = np.lexsort((np.where(images < 0, np.iinfo(np.int64).max, images), -among), axis=1)[:, : self.k]
        positions = np.concatenate([self.position, other.position], 1)
        self.value, self.image, self.position = (np.take_along_axis(a, order, 1) for a in (among, images, positions))
        self.minimum = np.minimum(self.minimum, other.minimum)
        self.histogram += other.histogram
        self.tree.merge(other.tree)

    def state(self) -> Arrays:
        """Everything as named arrays."""
        own: Arrays = {
            "value": self.value,
            "image": self.image,
            "position": self.position,
            "minimum": self.minimum,
            "histogram": self.histogram.numpy().copy(),
        }
        return own | {f"tree/{level}/{i}/{k}": v for (level, i), part in self.tree.parts.items() for k, v in part.items()}

    def restore(self, state: Arrays) -> None:
        self.value, self.image, self.position = state["value"], state["image"], state["position"]
        self.minimum, self.histogram = state["minimum"], torch.from_numpy(state["histogram"])
        self.tree = Tree()
        for key, array in state.items():
            if key.startswith("tree/"):
                _, level, i, name = key.split("/")
                self.tree.parts.setdefault((int(level), int(i)), {})[name] = array


def _of_batch(means: NDArray[np.float64], variances: NDArray[np.float64], size: int) -> Arrays:
    """Count, mean and M₂ per unit over a batch of maps with `size` positions each."""
    images, units = means.shape
    mean = means.mean(0)
    m2 = ((means - mean) ** 2).sum(0) * size + variances.sum(0) * size
    return {"count": np.full(units, float(images * size)), "mean": mean, "m2": m2}


def bin_of(values: Tensor) -> Tensor:
    """The histogram bin of float32 values: sign, exponent and first bits of the mantissa, read from the bits themselves."""
    bits = values.contiguous().view(torch.int32)
    magnitude = ((bits & 0x7FFFFFFF) >> (23 - MANTISSA_BITS)) - ((127 - _OCTAVES // 2) << MANTISSA_BITS)
    magnitude = magnitude.clamp(0, _SIDE - 1)
    return torch.where(values > 0, _SIDE + 1 + magnitude, torch.where(values < 0, _SIDE - 1 - magnitude, _SIDE))


def bin_edges() -> NDArray[np.float64]:
    """The BINS + 1 edges of the histogram, rising; the zero bin is [0, 0]."""
    steps = np.arange(_SIDE + 1)
    octave, part = np.divmod(steps, 1 << MANTISSA_BITS)
    positive = 2.0 ** (octave - _OCTAVES // 2) * (1 + part / (1 << MANTISSA_BITS))
    positive[0] = 0.0
    return np.concatenate([-positive[::-1], positive])


def quantiles(histogram: NDArray[Any], levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """(U, q) quantiles of (U, BINS) counts, linear inside a bin; within 6.25 % of the true value."""
    edges = bin_edges()
    below = np.cumsum(histogram, axis=1)
    total = below[:, -1:]
    found = np.full((len(histogram), len(levels)), np.nan)
    for j, level in enumerate(levels):
        rank = level * total[:, 0]
        bins = np.minimum((below < np.maximum(rank, 1e-9)[:, None]).sum(1), BINS - 1)
        inside = np.take_along_axis(histogram, bins[:, None], 1)[:, 0]
        before = np.take_along_axis(below, bins[:, None], 1)[:, 0] - inside
        share = np.divide(rank - before, inside, out=np.zeros(len(bins)), where=inside > 0)
        low, high = edges[bins], edges[bins + 1]
        found[:, j] = np.where(total[:, 0] > 0, low + np.clip(share, 0, 1) * (high - low), np.nan)
    return found
