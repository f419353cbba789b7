"""The randomisation test (Adebayo, Gilmer, Muelly, Goodfellow, Hardt, Kim 2018, "Sanity checks for saliency maps").

    ρ_k = rank correlation of A(x; θ) and A(x; θ with the k topmost layers drawn anew),   k = 1 … all
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from convscope.errors import UsageError
from convscope.evaluations._case import Case, spearman
from convscope.evaluations._weights import layers_with_weights, randomised, unit
from convscope.fields import param, validate
from convscope.likeness import ssim
from convscope.results import Table


@dataclass(frozen=True)
class Randomisation:
    """Does the map depend on what the network has learned?

    Layer after layer, from the output to the input, the weights are drawn anew (on a private copy: kernels from a normal
    distribution with their own mean and deviation, vectors shuffled) and the map is made again. Spearman's rank correlation
    with the first map, signed and of the sizes, and SSIM of the sizes over their maximum, after each stage. Columns:
    randomisation (B,), the signed correlation once everything is random; absolute (B,) that of the sizes, similarity (B,)
    the SSIM, at the same stage; signed_stages, absolute_stages, ssim_stages (B, S). −1 … 1; lower is better, 1 says
    that the map is blind to the weights. A map that becomes constant correlates 0.

    Misleads for maps that multiply by the image: their sizes keep its shape (look at the signed one), and for smooth maps,
    whose SSIM is high by itself. Errors: UsageError without a method to ask again or without weights. Source: Adebayo et
    al. 2018.

    >>> Randomisation(stages=4)
    Randomisation(stages=4)
    """

    name: ClassVar[str] = "randomisation"
    better: ClassVar[str] = "lower"
    ranks: ClassVar[bool] = False
    also: ClassVar[tuple[str, ...]] = ("absolute", "similarity")
    stages: int = param(5, "stages of the cascade, the last with every layer random", low=1)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, case: Case) -> Table:
        """One row an image."""
        layers = layers_with_weights(case.net)
        if case.method is None or not layers:
            found = "only its map was given" if case.method is None else f"{case.net.name} has no weights"
            raise UsageError("the randomisation test needs a method to ask again, and weights", found, "leave it out")
        count = min(self.stages, len(layers))
        stops = [round(k * len(layers) / count) for k in range(1, count + 1)]
        signed, absolute, similar = np.zeros((3, len(case.x), count))
        for s, stop in enumerate(stops):
            names = [name for _, mine in layers[:stop] for name in mine]
            found = case.method(randomised(case.net, names, case.seed), case.x, case.target).map.astype(np.float64)
            for b, (before, after) in enumerate(zip(case.signed, found, strict=True)):
                signed[b, s] = spearman(before, after)
                absolute[b, s] = spearman(np.abs(before), np.abs(after))
                similar[b, s] = ssim(unit(before), unit(after))
        shown = ", ".join(layers[stop - 1][0] for stop in stops)
        return case.table(
            self,
            {"randomisation": signed[:, -1], "absolute": absolute[:, -1], "similarity": similar[:, -1],
             "signed_stages": signed, "absolute_stages": absolute, "ssim_stages": similar},
            {"randomisation": "rank correlation of the signed maps, all weights random; 1: blind to the weights",
             "absolute": "the same of the maps' sizes", "similarity": "SSIM of the sizes over their maximum",
             "signed_stages": "after each stage"},
            (f"randomisation: cascading from the output, after {shown}; seed {case.seed}",))
