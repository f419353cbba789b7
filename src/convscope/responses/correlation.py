"""Which units of a layer answer alike, and how many of them would do (Pearson 1896; Roy and Vetterli 2007; Gao et al. 2017).

    r(u, v) = Σ_n (x_nu − x̄_u)(x_nv − x̄_v) / √(Σ_n (x_nu − x̄_u)² · Σ_n (x_nv − x̄_v)²)          R² = r²

x (N, U): the mean of each unit's map over an image. The counts of eigenvalues: `_redundancy.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convscope.errors import DataError
from convscope.fields import param, validate
from convscope.responses import _redundancy as red
from convscope.responses._study import Study
from convscope.results import Picture, Table

ENOUGH = 0.95  # R² above which one unit counts as told by another
SHARES = (0.9, 0.95, 0.99)


@dataclass(frozen=True)
class Correlation:
    """Which units of a layer answer alike, and how many different ones are there?

    `view='pairs'`: the k strongest positive and k strongest negative pairs, r in −1 … 1, strongest first. 'units': one row
    a unit with the unit that it goes with most (of either sign) and R² from it, 0 … 1. 'summary': effective rank,
    participation ratio, components for 90, 95 and 99 % of the variance, of standardised and of raw responses, and units
    with R² > 0.95. 'matrix': a Picture of all r (1, U, U), alike units beside each other; `values['unit']` (1, U) says
    which stands where. Units that do not vary are left out and counted.

    Misleads with few images: ranks are below their number, and chance makes pairs; 'beyond_chance' says which pairs N
    independent normal responses would not make (5 %, Fisher's z, Bonferroni). Means hide where on the image a unit
    answers: two units may be alike here and answer at different places. Errors: UnknownName for a layer without
    embeddings, DataError, UsageError. Source: Roy, Vetterli 2007; Gao et al. 2017.

    >>> Correlation(view="matrix").k
    20
    """

    view: str = param("pairs", "what is shown", choices=("pairs", "units", "summary", "matrix"))
    k: int = param(20, "pairs of each sign", low=1)
    most: int = param(20000, "images at most; of more, a random sample is taken", low=2)
    most_units: int = param(2048, "units at most; of more, a random sample is taken", low=2)
    seed: int = param(0, "seed of the samples", low=0)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, study: Study, layer: str) -> Table | Picture:
        """The correlations in the layer at this address."""
        vectors, _, notes = study.vectors(layer, self.most, self.seed)
        unit = np.arange(vectors.shape[1])
        if len(unit) > self.most_units:
            notes = (*notes, f"sampled: {self.most_units:,} of {len(unit):,} units, seed {self.seed}")
            unit = np.sort(np.random.default_rng(self.seed).choice(unit, self.most_units, replace=False))
            vectors = vectors[:, unit]
        z, lives = red.standardised(vectors)
        if lives.sum() < 2:
            raise DataError(f"nothing to correlate in {layer}", f"{int(lives.sum())} of its {len(unit):,} units vary over "
                            f"{len(vectors):,} images", "choose another layer, or sweep more images")
        if not lives.all():
            notes = (*notes, f"left out: {int((~lives).sum()):,} of {len(unit):,} units, which do not vary")
        r, unit = red.correlations(z), unit[lives]
        notes = (f"over {len(z):,} images, each by the mean of every unit's map", *notes)
        origin, title = study.origin(self, self.seed), f"correlation between the units of {layer}"
        facts: dict[str, Any] = {"title": title, "origin": origin}
        units = _UNITS | {"unit": f"address {layer}/unit"}
        if self.view == "units":
            return Table(columns=self._partners(r, unit), units=units, notes=notes, **facts)
        if self.view == "matrix":
            order = red.clustered(r)
            return Picture(tiles=r[np.ix_(order, order)][None], units=(f"{len(order)} units",), signed=True,
                           values={"unit": unit[order][None]}, notes=(*notes, "in the order of a hierarchical clustering "
                           "(average linkage of 1 − r)"), **facts)
        summary = self._summary(vectors[:, lives], z, r)
        if self.view == "summary":
            return Table(columns=summary, units={"value": "a count or a number of units", "of": "what it is at most"},
                         notes=notes, **facts)
        value = dict(zip(summary["measure"].tolist(), summary["value"].tolist(), strict=True))
        notes += (f"effective rank {value[RANK]:.1f}, participation ratio {value[RATIO]:.1f}, of {summary['of'][0]:.0f} "
                  f"possible; {value[TOLD]:.0f} of {len(unit):,} units are told by another one (R² > {ENOUGH})",)
        return Table(columns=self._pairs(r, unit, len(z)), units=units, notes=notes, **facts)

    def _pairs(self, r: red.Array, unit: NDArray[np.int64], images: int) -> dict[str, NDArray[Any]]:
        """The strongest pairs, positive then negative; ties by the units' numbers."""
        first, second = np.triu_indices(len(r), 1)
        value = r[first, second]
        order = np.argsort(-value, kind="stable")
        rising = np.argsort(value, kind="stable")
        chosen = np.r_[order[value[order] > 0][: self.k], rising[value[rising] < 0][: self.k]]
        found = value[chosen]
        return {"unit": unit[first[chosen]], "other": unit[second[chosen]], "correlation": found, "r2": found**2,
                "beyond_chance": np.abs(found) > red.chance_level(images, len(value))}

    def _partners(self, r: red.Array, unit: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """For each unit the other one that tells most about it."""
        off = np.abs(r) - 2 * np.eye(len(r))
        best = off.argmax(1)
        found = r[np.arange(len(r)), best]
        return {"unit": unit, "other": unit[best], "correlation": found, "r2": found**2, "told": found**2 > ENOUGH}

    def _summary(self, vectors: red.Array, z: red.Array, r: red.Array) -> dict[str, NDArray[Any]]:
        """Measure, value, and what it can be at most."""
        most = min(z.shape[1], len(z) - 1)
        even, raw = red.eigenvalues(z), red.eigenvalues(vectors - vectors.mean(0))
        off = np.abs(r) - np.eye(len(r))
        rows: list[tuple[str, float, int]] = [(RANK, red.effective_rank(even), most),
                                                (RATIO, red.participation_ratio(even), most)]
        rows += [(f"components for {s:.0%} of the variance", red.components_for(even, s), most) for s in SHARES]
        rows += [(f"{name}, raw responses", f(raw), most) for name, f in
                 ((RANK, red.effective_rank), (RATIO, red.participation_ratio))]
        rows += [(f"components for {s:.0%}, raw responses", red.components_for(raw, s), most) for s in SHARES]
        rows += [(TOLD, float((off.max(1) ** 2 > ENOUGH).sum()), len(r)),
                 ("mean |r| of two units", off.sum() / (len(r) * (len(r) - 1)), 1),
                 ("the same for independent units", float(np.sqrt(2 / (np.pi * (len(z) - 1)))), 1)]
        measure, value, of = zip(*rows, strict=True)
        return {"measure": np.array(measure, np.str_), "value": np.array(value, float), "of": np.array(of, int)}


TOLD = f"units with R² > {ENOUGH} from another"
RANK, RATIO = "effective rank", "participation ratio"
_UNITS = {"other": "the unit that it goes with", "correlation": "Pearson's r of the two units' means, −1 … 1",
          "r2": "share of the one's variance that the other tells, 0 … 1",
          "told": f"R² > {ENOUGH}", "beyond_chance": "independent normal responses would not make it (5 %, all pairs)"}
