"""How alike do the layers of one network represent a collection? Linear CKA of embeddings (Kornblith et al. 2019).

    CKA(X, Y) = HSIC(XXᵀ, YYᵀ) / √(HSIC(XXᵀ, XXᵀ) · HSIC(YYᵀ, YYᵀ))          X (N, U), Y (N, U'): embeddings of N images

each HSIC by its unbiased estimator HSIC₁ (Song et al. 2012), or the biased HSIC₀: see `convscope.similarity`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from convscope import similarity
from convscope.errors import UsageError
from convscope.fields import param, validate
from convscope.responses._study import Study
from convscope.results import Table


@dataclass(frozen=True)
class CKA:
    """Which other layers of the network represent the images as this one does?

    One row an embedded layer, in the order of the network: 'cka' with the layer that is asked about (1 for itself), 'units'.
    At most 1, reached by equal embeddings up to rotation, scale and shift; 0 is expected of independent ones, by the
    unbiased estimator, which can fall below. NaN: a layer gave the same for all images. Embeddings are the means of each
    unit's map: where things are does not count.

    Misleads: a few units with large variance decide, and neighbours in a network are alike by their making. Errors:
    UnknownName for a layer without embeddings, UsageError where no other has any, DataError. Source: Kornblith et al. 2019.

    >>> CKA(most=500).estimator
    'unbiased'
    """

    estimator: str = param("unbiased", "HSIC's estimator; the biased one grows with units per image",
                           choices=("unbiased", "biased"))
    most: int = param(2000, "images at most; of more, a random sample is taken", unit="images", low=4)
    seed: int = param(0, "seed of the sample", low=0)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, study: Study, layer: str) -> Table:
        """The layer at this address against every layer with embeddings."""
        asked, numbers, notes = study.vectors(layer, self.most, self.seed)
        embedded = [one.address for one in study.net.layers if one.address in study.record.facts.embed]
        if len(embedded) < 2:
            raise UsageError(f"{layer} has no layer to be compared with", f"embeddings were kept of {embedded[0]} only",
                             "name more in --embed when sweeping")
        mine = similarity.centred(similarity.gram(asked), self.estimator)
        found: list[float] = []
        for address in embedded:
            rows = study.record.embeddings(address)[numbers].astype(np.float64)
            kept = np.isfinite(rows).all(1)
            if kept.all():
                other = similarity.centred(similarity.gram(rows), self.estimator)
                own, with_other, theirs = (float(np.vdot(a, b)) for a, b in ((mine, mine), (mine, other), (other, other)))
                found.append(with_other / np.sqrt(own * theirs) if own > 0 and theirs > 0 else np.nan)
            else:
                found.append(similarity.cka(asked[kept], rows[kept], self.estimator))
                notes = (*notes, f"{address}: over the {int(kept.sum())} images with an embedding")
        bias = "unbiased HSIC₁" if self.estimator == "unbiased" else "biased HSIC₀, which grows with units per image"
        units = np.array([study.record.facts.units[study.record.facts.layers.index(one)] for one in embedded])
        return Table(columns={"layer": np.array(embedded), "cka": np.array(found), "units": units},
                     units={"cka": f"linear CKA of the embeddings with those of {layer}, at most 1",
                            "units": "how many units the layer has"},
                     title=f"layers that represent images as {layer} does",
                     notes=(f"{len(numbers):,} images, {bias}", *notes), origin=study.origin(self, self.seed))
