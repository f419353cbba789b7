"""Max-sensitivity (Yeh, Hsieh, Suggala, Inouye, Ravikumar 2019, "On the (in)fidelity and sensitivity of explanations").

    SENS = max_{‖d‖∞ ≤ r} ‖A(x + d) − A(x)‖ / ‖A(x)‖
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from convscope.errors import UsageError
from convscope.evaluations._case import Case
from convscope.fields import param, validate
from convscope.results import Table


@dataclass(frozen=True)
class Sensitivity:
    """How much does the map change when the image changes too little to see?

    Noise is drawn evenly from [−r, r] for every number of the image, `samples` times; the largest relative change of the map
    (all its channels, Euclidean norm) that was met. A lower bound of the largest there is. r is a share of the image's own
    range. Column: sensitivity (B,), 0 … ∞. Lower is better. A map that is zero everywhere counts as 0 if it stays zero, else
    as infinite.

    Misleads: a map that ignores the network is perfectly stable. Errors: UsageError without a method to ask again. Source:
    Yeh et al. 2019 (divided by ‖A(x)‖, as libraries do, so that methods of different units can stand side by side).

    >>> Sensitivity(samples=4)
    Sensitivity(samples=4, radius=0.02)
    """

    name: ClassVar[str] = "sensitivity"
    better: ClassVar[str] = "lower"
    ranks: ClassVar[bool] = False
    also: ClassVar[tuple[str, ...]] = ()
    samples: int = param(8, "draws of noise", low=1)
    radius: float = param(0.02, "largest change of a number, as a share of the image's range", low=0)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, case: Case) -> Table:
        """One row an image."""
        if case.method is None:
            raise UsageError("sensitivity needs the method, to ask it again", "only its map was given", "give Case.method")
        values = case.heat.values.astype(np.float64)
        norm = np.sqrt((values**2).sum((1, 2, 3)))
        worst = np.zeros(len(values))
        noises = [self.noise(case, b) for b in range(len(case.x))]
        for n in range(self.samples):
            shifted = case.x + torch.from_numpy(np.stack([noise[n] for noise in noises])).to(case.x)
            moved = case.method(case.net, shifted, case.target).values.astype(np.float64)
            worst = np.maximum(worst, np.sqrt(((moved - values) ** 2).sum((1, 2, 3))))
        with np.errstate(divide="ignore", invalid="ignore"):
            relative = np.where(worst == 0, 0.0, worst / norm)
        return case.table(self, {"sensitivity": relative},
                          {"sensitivity": "largest relative change of the map that was met; lower is better"},
                          (f"sensitivity: {self.samples} draws of noise of at most {self.radius:g} of the image's range",))

    def noise(self, case: Case, b: int) -> np.ndarray:
        """(samples, C, H, W) the noise for image `b`."""
        reach = self.radius * float(case.x[b].max() - case.x[b].min())
        return case.draws(b).uniform(-reach, reach, (self.samples, *case.x.shape[1:]))
