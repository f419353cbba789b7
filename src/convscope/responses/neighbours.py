"""The images that a layer holds for most alike (Papernot and McDaniel 2018; Krizhevsky, Sutskever, Hinton 2012, figure 4).

    cosine      d(a, b) = 1 − ⟨a, b⟩ / (‖a‖ ‖b‖)          euclidean   d(a, b) = ‖a − b‖₂

a, b: embeddings (U,), the mean of each unit's map.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convscope.errors import DataError
from convscope.fields import param, validate
from convscope.responses._study import Study
from convscope.results import Table

ROWS = 4096  # embeddings read at a time


@dataclass(frozen=True)
class Neighbours:
    """Which other images look most alike to a layer?

    Exact, in the layer's own space (U numbers an image), not on a map of it: one row a neighbour, nearest first, ties
    by image number. Columns 'rank', 'image', 'id', 'distance', and 'label' where labels are known. Cosine distance goes
    from 0 (same direction) to 2; euclidean is in the layer's units.

    Misleads where a few units with large values drown all others (euclidean). Errors: UnknownName for an image or layer
    without embeddings, DataError. Source: Krizhevsky, Sutskever, Hinton 2012.

    >>> Neighbours(image=42, k=3).metric
    'cosine'
    """

    image: int = param(0, "number of the image whose neighbours are wanted", low=0)
    k: int = param(9, "how many", low=1)
    metric: str = param("cosine", "distance between embeddings", choices=("cosine", "euclidean"))

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, study: Study, layer: str) -> Table:
        """The neighbours of the image in the embeddings of the layer at this address."""
        kept = study.record.embeddings(layer)
        one = kept[study.number(self.image)].astype(np.float64)
        name = study.record.ids[self.image]
        if not np.isfinite(one).all():
            raise DataError(f"{name} has no embedding", "it could not be measured", "choose another image")
        if self.metric == "cosine" and not one.any():
            raise DataError(f"{name} has no direction in {layer}", "all its units are zero",
                            "use metric='euclidean' or another layer")
        parts = (kept[at : at + ROWS].astype(np.float64) for at in range(0, len(kept), ROWS))
        distance = np.concatenate([self._distances(one, rows) for rows in parts])
        distance[self.image] = np.nan
        there = int(np.isfinite(distance).sum())
        order = np.argsort(distance, kind="stable")[: min(self.k, there)]  # NaN comes last
        left = len(kept) - 1 - there
        notes = [f"exact, among {there:,} images in the {kept.shape[1]:,} numbers of {layer}"]
        if left:
            lacking = "embedding or with all units zero" if self.metric == "cosine" else "embedding"
            notes.append(f"left out: {left:,} images without {lacking}")
        ids = np.array([study.record.ids[i] for i in order], np.str_)
        columns = {"rank": np.arange(1, len(order) + 1), "image": order, "id": ids, "distance": distance[order]}
        if (study.record.labels >= 0).any():
            columns["label"] = study.record.labels[order]
        units = {"distance": "1 − cosine, 0 … 2" if self.metric == "cosine" else "euclidean, in the layer's units"}
        return Table(columns=columns, units=units, title=f"neighbours of {name} in {layer}", notes=tuple(notes),
                     origin=study.origin(self))

    def _distances(self, one: NDArray[np.float64], rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n,) distances; NaN where there is none."""
        if self.metric == "euclidean":
            return np.sqrt(((rows - one) ** 2).sum(1))
        lengths = np.sqrt((rows**2).sum(1))
        share = np.divide((rows * one).sum(1), lengths, out=np.full(len(rows), np.nan), where=lengths > 0)
        return 1 - np.clip(share / np.sqrt((one**2).sum()), -1, 1)
