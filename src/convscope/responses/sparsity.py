"""How few images a unit answers to, and how few units answer to an image (Treves and Rolls 1991; Vinje and Gallant 2000).

    a = (Σ r / n)² / (Σ r² / n)          activity ratio, 1/n … 1
    S = (1 − a) / (1 − 1/n)              sparseness: 0 all r are equal, 1 one of the n is not zero

lifetime: over the n = N images of one unit;  population: over the n = U units of one image;  r = max(mean of the map, 0)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convscope.fields import param, validate
from convscope.responses._study import Study
from convscope.results import Table

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Sparsity:
    """Does a unit answer to few images, and an image wake few units?

    `of='units'`: one row a unit (U): 'sparseness' over the images (lifetime, 0 … 1), 'fires' (share of the images with a
    response above zero, 0 … 1), 'mean' and 'peak' (largest response to an image), 'state': 'dead' (never above zero
    anywhere), 'always on' (above zero on every image), else empty; 'positions' (share of single positions above zero,
    where the sweep counted them). `of='images'`: one row an image (N): 'sparseness' over the units (population), 'active'
    (share of units above zero), 'label'. A response is the mean of a unit's map over an image; the notes sum up both. No
    sparseness (NaN) where no response is above zero.

    Misleads in early layers, where the mean of a large map is hardly ever zero (read 'positions' there), and before the
    activation function, where negative means count as zero although the map may fire somewhere: ask for the layer after
    it. Units with large values rule the population's sparseness. Errors: UnknownName for a layer without embeddings,
    DataError, UsageError. Source: Treves, Rolls 1991; Vinje, Gallant 2000.

    >>> Sparsity(of="images")
    Sparsity(of='images', most=20000, seed=0)
    """

    of: str = param("units", "one row a unit (over images) or one an image (over units)", choices=("units", "images"))
    most: int = param(20000, "images at most; of more, a random sample is taken", low=2)
    seed: int = param(0, "seed of that sample", low=0)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, study: Study, layer: str) -> Table:
        """The sparseness of the layer at this address."""
        vectors, index, notes = study.vectors(layer, self.most, self.seed)
        r = np.maximum(vectors, 0)
        lifetime, population = sparseness(r.T), sparseness(r)
        dead, where = self._dead(study, layer, r)
        always = (r > 0).all(0)
        negative = int((vectors < 0).any(0).sum())
        notes = (*notes, f"lifetime sparseness of the units: {_spread(lifetime)}",
                 f"population sparseness of the images: {_spread(population)}",
                 f"dead: {int(dead.sum())} of {len(dead):,} units, never above zero {where}",
                 f"always on: {int(always.sum())}, above zero on all {len(r):,} images",
                 f"images on which no unit is above zero: {int((~(r > 0).any(1)).sum())}")
        if negative:
            notes += (f"{negative} units have a negative mean on some image, which counts as zero: the layer after the "
                      "activation function says more",)
        if self.of == "units":
            columns = {"unit": np.arange(r.shape[1]), "sparseness": lifetime, "fires": (r > 0).mean(0), "mean": r.mean(0),
                       "peak": r.max(0), "state": np.where(dead, "dead", np.where(always, "always on", ""))}
            fires = study.record.table(layer).columns.get("fires") if layer in study.record.facts.layers else None
            if fires is not None:
                columns["positions"] = np.asarray(fires)
            units = {"unit": f"address {layer}/unit", "sparseness": "over the images, 0 all the same … 1 one image only",
                     "fires": "share of the images with a response above zero, 0 … 1",
                     "mean": "mean response to an image, in the layer's units", "peak": "largest response to an image",
                     "positions": "share of sampled positions above zero, 0 … 1, as the sweep counted",
                     "state": f"dead: never above zero {where}; always on: above zero on every image"}
        else:
            columns = {"image": index, "id": np.array([study.record.ids[i] for i in index], np.str_),
                       "sparseness": population, "active": (r > 0).mean(1)}
            units = {"sparseness": "over the units, 0 all answer alike … 1 one unit only",
                     "active": "share of the units with a response above zero, 0 … 1"}
            if (study.record.labels >= 0).any():
                columns["label"] = study.record.labels[index]
        return Table(columns=columns, units=units, title=f"sparsity of the {self.of} in {layer}", notes=notes,
                     origin=study.origin(self, self.seed))

    def _dead(self, study: Study, layer: str, r: Array) -> tuple[NDArray[np.bool_], str]:
        """(U,) which units are never above zero, and where that was looked for."""
        peak, where = r.max(0), f"in the mean over an image, on {len(r):,} images"
        if layer in study.record.facts.layers:
            peak, where = study.record.tally(layer).value[:, 0], f"anywhere on the {study.record.counted:,} images measured"
        return np.asarray(peak <= 0), where


def sparseness(r: Array) -> Array:
    """(m,) from (m, n) responses that are not negative: along each row; NaN where a row is zero or has one number.

    >>> sparseness(np.array([[0.0, 0.0, 5.0], [2.0, 2.0, 2.0]])).tolist()
    [1.0, 0.0]
    """
    n = r.shape[1]
    peak = r.max(1, keepdims=True)
    scaled = np.divide(r, peak, out=np.zeros_like(r), where=peak > 0)  # so that no square leaves the range of numbers
    squares = (scaled**2).mean(1)
    ratio = np.divide(scaled.mean(1) ** 2, squares, out=np.full(len(r), np.nan), where=squares > 0)
    return np.clip((1 - ratio) / (1 - 1 / n), 0, 1) if n > 1 else np.full(len(r), np.nan)


def _spread(values: Array) -> str:
    there = values[np.isfinite(values)]
    if not len(there):
        return "none has any"
    low, middle, high = np.percentile(there, (25, 50, 75))
    return f"median {middle:.2f}, quartiles {low:.2f} … {high:.2f} ({len(there):,} of {len(values):,})"
