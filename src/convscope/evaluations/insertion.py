"""Insertion (Petsiuk, Das, Saenko 2018, "RISE: Randomized input sampling for explanation of black-box models").

    insertion = ∫₀¹ p(blurred x with the share s of pixels brought back, most evidence first) ds
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from convscope.evaluations import _fill
from convscope.evaluations._case import Case, area, curve
from convscope.fields import param, validate
from convscope.results import Table


@dataclass(frozen=True)
class Insertion:
    """How fast does the answer come when the pixels that the map calls important are brought back?

    From a blurred image (or another fill) to the whole one, most evidence first, in `steps` equal shares; the area under the
    curve of the target's probability, 0 … 1 (of a unit: its value). Columns: insertion (B,), curve (B, steps + 1). Higher is
    better. At 224 px the blur is that of the paper (σ = 5 px), in proportion elsewhere, at least 2 px; it is printed.

    Misleads where the blur leaves the evidence in place (too little) and where sharp pixels on a blurred ground are edges of
    their own. Only the order of pixels counts. Errors: UsageError. Source: Petsiuk, Das, Saenko 2018.

    >>> Insertion(steps=10)
    Insertion(steps=10, fill='blur', sigma=None)
    """

    name: ClassVar[str] = "insertion"
    better: ClassVar[str] = "higher"
    ranks: ClassVar[bool] = True
    also: ClassVar[tuple[str, ...]] = ()
    steps: int = param(32, "equal shares in which pixels are brought back", low=1)
    fill: str = param("blur", "what the image is at first", choices=("mean", "zero", "black", "blur"))
    sigma: float | None = param(None, "of the blur; by default 5/224 of the shorter side, at least 2", unit="px", low=0.1)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, case: Case) -> Table:
        """One row an image."""
        start, said = _fill.fill(case.net, case.x, self.fill, self.sigma)
        pixels = case.x[0, 0].numel()
        counts = np.rint(np.linspace(0, pixels, self.steps + 1)).astype(np.int64)
        # Bringing back the first k pixels is taking the last n − k of the order from the fill.
        last_first = pixels - 1 - case.ranks
        curves = np.stack([curve(case, b, last_first[b], pixels - counts, start[b]) for b in range(len(case.x))])
        return case.table(
            self, {"insertion": [area(c, counts / pixels) for c in curves], "curve": curves},
            {"insertion": f"area under the curve of the target's {case.read_as}; higher is better",
             "curve": "from none of the image to all of it"},
            (f"insertion: {self.steps} steps, the image is at first {said}",))
