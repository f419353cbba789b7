"""Principal components of a layer's responses (Pearson 1901; Hotelling 1933).

    X: embeddings (N, U) less their mean;  X = Q S Vᵀ;  points = X V[:, :2];  share of variance of component j: S_j² / Σ S²
"""

from __future__ import annotations

from dataclasses import dataclass

from convscope.fields import param, validate
from convscope.responses._components import components
from convscope.responses._study import Study
from convscope.results import Cloud


@dataclass(frozen=True)
class PCA:
    """How do the images lie along the two directions in which a layer's responses vary most?

    Points (N, 2) in the layer's units; axis titles give the share of variance. Distances on it are at most those in the
    layer. The sign of a component is arbitrary: the unit with the largest weight is made positive.

    Misleads where two components hold little of the variance: look at the shares. Errors: UnknownName for a layer without
    embeddings, DataError. Source: Hotelling 1933.

    >>> PCA(most=100).seed
    0
    """

    most: int = param(20000, "images at most; of more, a random sample is taken", low=2)
    seed: int = param(0, "seed of that sample", low=0)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, study: Study, layer: str) -> Cloud:
        """The map of the collection in the layer at this address."""
        vectors, index, notes = study.vectors(layer, self.most, self.seed)
        points, shares = components(vectors, 2)
        if shares.sum() == 0:
            notes = (*notes, "all images have the same responses")
        axes = (f"component 1 ({shares[0]:.0%} of variance)", f"component 2 ({shares[1]:.0%} of variance)")
        return Cloud(points=points, ids=tuple(study.record.ids[i] for i in index), labels=study.record.labels[index],
                     classes=study.record.classes, title=f"PCA of {layer}", axes=axes, notes=notes,
                     origin=study.origin(self, self.seed))
