"""What every measure reads: a network, images, a target, the map that is judged, who made it; and what measures share.

Two readings of a map. `signed` is the map itself, summed over channels. `evidence` ranks pixels: it is the signed map where
the map is in units of the score, and its size, the largest |A| over channels, where it is a slope ('score per input unit'):
a slope says how sensitive the score is, not whether a pixel speaks for or against it.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import Tensor

from convscope import outputs
from convscope.errors import ShapeError
from convscope.fast import fast
from convscope.network import Network
from convscope.results import Heatmap, Table
from convscope.run import Target

Floats = NDArray[np.float64]
Method = Callable[[Network, Tensor, Target], Heatmap]
BATCH = 32  # changed images per forward pass


@dataclass(frozen=True, eq=False)
class Case:
    """One map (a batch of them) on trial. Errors: ShapeError where map, images and truth differ in size."""

    net: Network
    x: Tensor  # (B, C, H, W) in the network's units
    target: Target
    heat: Heatmap
    method: Method | None = None  # who made the map, to be asked again
    truth: NDArray[np.bool_] | None = None  # (B, H, W) where the evidence is
    seed: int = 0

    def __post_init__(self) -> None:
        wanted = (len(self.x), *self.x.shape[2:])
        for what, array in (("map", self.heat.map), ("truth", self.truth)):
            if array is not None and array.shape != wanted:
                raise ShapeError(f"the {what} has the shape {array.shape}", f"the images are {tuple(self.x.shape)}",
                                 f"give one of shape {wanted}")

    @property
    def signed(self) -> Floats:
        """(B, H, W)"""
        return self.heat.map.astype(np.float64)

    @property
    def evidence(self) -> Floats:
        """(B, H, W): what ranks the pixels."""
        return evidence(self.heat)

    def chances(self, images: Tensor) -> Floats:
        """(n,) the target's probability for each image, or the value itself of a unit. `images`: any number of them."""
        pieces: list[Tensor] = []
        for part in images.split(self.net.batch or BATCH):
            missing = (self.net.batch or 0) - len(part)
            whole = torch.cat([part, part[-1:].expand(missing, *part.shape[1:])]) if missing > 0 else part
            pieces.append(self._read(whole)[: len(part)])
        return torch.cat(pieces).double().cpu().numpy()

    @functools.cached_property
    def _read(self) -> Callable[[Tensor], Tensor]:
        if self.target.unit is not None:
            return lambda images: self.target.score(self.net, images)
        quick, index = fast(self.net, ()), self.target.index
        reading = outputs.read(self.net, temperature=1.0)
        return lambda images: reading.each(quick.run(images).flatten(1).float())[:, index]

    @property
    def read_as(self) -> str:
        return "probability" if self.target.unit is None else "value of the unit"

    def draws(self, b: int, *more: int) -> np.random.Generator:
        """Random numbers for image `b`: they follow from the seed and the image, not from the batch that it came in."""
        return np.random.default_rng([self.seed, zlib.crc32(self.x[b].cpu().contiguous().numpy().tobytes()), *more])

    @functools.cached_property
    def ranks(self) -> NDArray[np.int64]:
        """(B, H, W) 0 for the pixel with the most evidence. Ties are drawn, the same way for every map of this size."""
        return np.stack([rank(one, self.seed) for one in self.evidence])

    def table(self, measure: Any, columns: dict[str, Any], units: dict[str, str], notes: tuple[str, ...] = ()) -> Table:
        """The result of a measure: one row an image."""
        named = {"image": np.arange(len(self.x)), **{k: np.asarray(v) for k, v in columns.items()}}
        return Table(columns=named, units=units, title=f"{measure.name} of {self.heat.origin.method or 'a map'}",
                     notes=notes, origin=self.net.origin(measure, self.x, self.seed))


def evidence(heat: Heatmap) -> Floats:
    """(B, H, W): the signed map, or its size where it is a slope."""
    if heat.unit.startswith("score per"):
        return np.abs(heat.values).max(axis=1).astype(np.float64)
    return heat.map.astype(np.float64)


def rank(values: NDArray[Any], seed: int) -> NDArray[np.int64]:
    """0 for the largest; equal values in an order that is drawn, since any fixed one would favour a side of the image."""
    flat = values.reshape(-1)
    order = np.lexsort((np.random.default_rng(seed).permutation(flat.size), -flat))
    ranks = np.empty(flat.size, np.int64)
    ranks[order] = np.arange(flat.size)
    return ranks.reshape(values.shape)


def curve(case: Case, b: int, cells: NDArray[np.int64], counts: NDArray[np.int64], end: Tensor) -> Floats:
    """(len(counts),) chances of image `b` once the pixels whose cell's rank is below each count are taken from `end`."""
    at = torch.from_numpy(cells).to(case.x.device)
    return np.concatenate([
        case.chances(torch.stack([torch.where(at < int(k), end, case.x[b]) for k in chunk]))
        for chunk in np.array_split(counts, -(-len(counts) // BATCH))])


def area(values: Floats, shares: Floats) -> float:
    """Area under a curve by the trapezoid rule, over the width of its axis."""
    return float(((values[1:] + values[:-1]) / 2 * np.diff(shares)).sum() / (shares[-1] - shares[0]))


def spearman(a: Floats, b: Floats) -> float:
    """Rank correlation of two maps, equal values sharing their mean rank. A constant map correlates with nothing (0)."""
    x, y = (rankdata(v.reshape(-1)) for v in (a, b))
    x, y = x - x.mean(), y - y.mean()
    scale = float(np.sqrt((x * x).sum() * (y * y).sum()))
    return float((x * y).sum() / scale) if scale > 0 else 0.0
