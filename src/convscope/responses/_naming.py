"""How well do a unit's responses tell a concept from everything else? Receptive fields, ranks and overlaps; no network.

`at_mask`: where on a map the receptive fields lie on a mask. `auc`: from ranks. `Overlap`: IoU against masks, on a grid.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope.geometry import Field
from convscope.network import map_of
from convscope.results import Layer

GRID = 56  # rows and columns at most on which masks and maps are compared
NEAR = 0.75  # of the best overlap that any position has with the mask
CHUNK = 1 << 23  # values of enlarged maps at once


@dataclass(frozen=True)
class Sight:
    """What the positions (h, w) of a layer's maps see of an image (H, W)."""

    map: tuple[int, int]
    image: tuple[int, int]
    spans: tuple[NDArray[np.int64], NDArray[np.int64]]  # (h, 2), (w, 2) first pixel and the one after the last
    centres: tuple[NDArray[np.float64], NDArray[np.float64]]  # (h,), (w,) pixels
    known: bool  # False: nothing tells what a position sees; the map is taken to lie evenly over the image

    @classmethod
    def of(cls, layer: Layer, image: tuple[int, int]) -> Sight | None:
        """None for a layer without maps (h, w)."""
        size = map_of(layer)
        if size is None or len(size) != 2 or math.prod(size) == 1:
            return None
        fields = layer.fields if layer.fields is not None and len(layer.fields) == 2 else (Field(None), Field(None))
        axes = [_axis(field, n, pixels) for field, n, pixels in zip(fields, size, image, strict=True)]
        return cls((size[0], size[1]), image, (axes[0][0], axes[1][0]), (axes[0][1], axes[1][1]), layer.fields is not None)

    def at_mask(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """(h, w): positions that see nearly as much of the mask, or see as little else, as any position does.

        The overlap of a receptive field R and a mask L is |R ∩ L| / min(|R|, |L|). All False where nothing sees the mask.
        """
        sums = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1), np.int64)
        sums[1:, 1:] = mask.cumsum(0).cumsum(1)
        (y0, y1), (x0, x1) = self.spans[0].T, self.spans[1].T
        common = sums[np.ix_(y1, x1)] - sums[np.ix_(y0, x1)] - sums[np.ix_(y1, x0)] + sums[np.ix_(y0, x0)]
        areas = (y1 - y0)[:, None] * (x1 - x0)[None]
        overlap = common / np.maximum(np.minimum(areas, mask.sum()), 1)
        return (overlap >= NEAR * overlap.max()) & (overlap > 0)


def _axis(field: Field, positions: int, pixels: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    spans = np.array([field.span(i, pixels) for i in range(positions)], np.int64)
    index = np.arange(positions, dtype=np.float64)
    if field.centre is None:
        return spans, (index + 0.5) * pixels / positions - 0.5
    return spans, float(field.centre) + index * float(field.stride)


def auc(ranks: NDArray[np.float64], shown: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(U,) the chance that a row where the concept is shown has the larger response, ties counting half; of ranks (R, U).

        AUC = (Σ ranks of the n shown − n(n + 1)/2) / (n·m),   m: the other rows        (Mann and Whitney 1947)

    >>> auc(np.array([[1.0], [2.0], [3.0]]), np.array([False, False, True])).tolist()
    [1.0]
    """
    n = int(shown.sum())
    others = len(shown) - n
    if n == 0 or others == 0:
        return np.full(ranks.shape[1], np.nan)
    return (ranks[shown].sum(0) - n * (n + 1) / 2) / (n * others)


def by_chance(bar: float, n: int, others: int) -> float:
    """The share of units which pass the bar although they tell nothing apart: the AUC's normal approximation."""
    spread = math.sqrt((n + others + 1) / (12 * max(n * others, 1)))
    return 0.5 * math.erfc((bar - 0.5) / spread / math.sqrt(2))


class Overlap:
    """Intersections and unions of enlarged, cut-off maps with masks, added up over images (Bau et al. 2017)."""

    def __init__(self, sight: Sight, threshold: Tensor, concepts: int) -> None:
        rows, columns = (np.unique(np.linspace(0, n - 1, min(n, GRID)).round().astype(int)) for n in sight.image)
        self.points = np.ix_(rows, columns)
        self.up = _between(sight.centres[0], rows), _between(sight.centres[1], columns)
        self.threshold = threshold
        units = len(threshold)
        self.common = torch.zeros(units, concepts, dtype=torch.float64)
        self.active = torch.zeros(units, dtype=torch.float64)  # points of all images at which the unit is above
        self.marked = torch.zeros(concepts, dtype=torch.float64)  # points of all images that lie on the concept

    def add(self, maps: Tensor, masks: dict[int, NDArray[np.bool_]]) -> None:
        """One image: maps (U, h, w)."""
        small = {c: torch.from_numpy(mask[self.points]).reshape(-1) for c, mask in masks.items()}
        for c, mask in small.items():
            self.marked[c] += float(mask.sum())
        # Interpolation makes nothing larger: units that are below everywhere have no part in it.
        above = (maps.flatten(1).amax(1) > self.threshold).nonzero()[:, 0]
        for some in above.split(max(1, CHUNK // (len(self.up[0]) * len(self.up[1])))):
            large = self.up[0].to(maps) @ maps[some] @ self.up[1].to(maps).T
            on = (large > self.threshold[some, None, None]).flatten(1)
            self.active[some] += on.sum(1).double()
            for c, mask in small.items():
                self.common[some, c] += on[:, mask].sum(1).double()

    def iou(self) -> NDArray[np.float64]:
        """(U, concepts): |M ∩ L| / |M ∪ L|; 0 where neither is anywhere."""
        union = self.active[:, None] + self.marked[None] - self.common
        return (self.common / union.clamp(min=1)).numpy()


def _between(centres: NDArray[np.float64], points: NDArray[np.int64]) -> Tensor:
    """(points, positions): weights of linear interpolation between receptive fields' centres; beyond them, the nearest."""
    at = np.clip(np.interp(points, centres, np.arange(len(centres), dtype=np.float64)), 0, len(centres) - 1)
    low = np.minimum(np.floor(at).astype(int), max(len(centres) - 2, 0))
    weights = np.zeros((len(points), len(centres)))
    rows = np.arange(len(points))
    weights[rows, low] = 1 - (at - low)
    if len(centres) > 1:
        weights[rows, low + 1] = at - low
    return torch.from_numpy(weights)
