"""t-distributed stochastic neighbour embedding (van der Maaten and Hinton 2008), by openTSNE (Poličar, Stražar, Zupan 2019).

    KL(P ‖ Q) = Σ_{i≠j} p_ij log(p_ij / q_ij) is made small over points y;   q_ij ∝ (1 + ‖y_i − y_j‖²)⁻¹
    p_ij: Gaussian neighbourhoods in the layer, as wide as gives every image about `perplexity` neighbours
"""

from __future__ import annotations

from dataclasses import dataclass

from convscope.errors import DataError
from convscope.fields import param, validate
from convscope.responses._components import components
from convscope.responses._embedded import Progress, embedded
from convscope.responses._study import Study
from convscope.results import Cloud

COMPONENTS = 50  # principal components that t-SNE works on, as in the paper
FEWEST = 5  # images


@dataclass(frozen=True)
class TSNE:
    """Which images form groups in a layer?

    Points (N, 2), without units. The embeddings go through their first 50 principal components, start from the first
    two, and follow 250 steps with exaggerated attraction, then `iterations` steps. The same seed gives the same bits.

    Misleads: only who is near whom means something; the sizes of groups, the distances between them and the axes do not, and
    noise forms groups too. Errors: UnknownName for a layer without embeddings, DataError. Source: van der Maaten and Hinton
    2008.

    >>> TSNE(perplexity=10.0).iterations
    500
    """

    perplexity: float = param(30.0, "about how many neighbours an image has", low=1)
    seed: int = param(0, "seed of the sample and of openTSNE", low=0)
    iterations: int = param(500, "steps after the early exaggeration", low=1)
    most: int = param(5000, "images at most; of more, a random sample is taken", low=5)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, study: Study, layer: str, progress: Progress | None = None) -> Cloud:
        """The map of the collection in the layer at this address; `progress(done, total, of what)` may raise to stop."""
        vectors, index, notes = study.vectors(layer, self.most, self.seed)
        if len(index) < FEWEST:
            raise DataError(f"t-SNE of {len(index)} images says nothing", f"it needs at least {FEWEST}",
                            "use pca, or sweep more images")
        perplexity = min(self.perplexity, (len(index) - 1) / 3)
        if perplexity < self.perplexity:
            notes = (*notes, f"perplexity lowered from {self.perplexity:g}: there are only {len(index)} images")
        reduced, shares = components(vectors, COMPONENTS)
        if shares.sum() == 0:
            raise DataError(f"all images have the same responses in {layer}", "they cannot be told apart",
                            "choose another layer")
        if vectors.shape[1] > COMPONENTS:
            notes = (*notes, f"on the first {COMPONENTS} principal components ({shares.sum():.0%} of variance)")
        points = embedded(reduced, perplexity, self.iterations, self.seed, progress)
        return Cloud(points=points, ids=tuple(study.record.ids[i] for i in index), labels=study.record.labels[index],
                     classes=study.record.classes, title=f"t-SNE of {layer}", axes=("no unit", "no unit"),
                     notes=(*notes, f"perplexity {perplexity:.3g}, {self.iterations} iterations, seed {self.seed}"),
                     origin=study.origin(self, self.seed))
