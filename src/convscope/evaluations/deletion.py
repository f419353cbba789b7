"""Deletion (Petsiuk, Das, Saenko 2018, "RISE: Randomized input sampling for explanation of black-box models").

    deletion = ∫₀¹ p(x with the share s of pixels removed, most evidence first) ds
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
class Deletion:
    """How fast does the answer vanish when the pixels that the map calls important are removed?

    Pixels are filled in the order of the map, most evidence first, in `steps` equal shares; the area under the curve of the
    target's probability, 0 … 1 (of a unit: its value). Columns: deletion (B,), curve (B, steps + 1). Lower is better.

    Misleads, as it leaves the images that the network knows: a scattered order destroys texture whatever it means, so never
    trust it alone. Only the order of pixels counts. Errors: UsageError. Source: Petsiuk, Das, Saenko 2018.

    >>> Deletion(steps=10)
    Deletion(steps=10, fill='mean')
    """

    name: ClassVar[str] = "deletion"
    better: ClassVar[str] = "lower"
    ranks: ClassVar[bool] = True
    also: ClassVar[tuple[str, ...]] = ()
    steps: int = param(32, "equal shares in which pixels are removed", low=1)
    fill: str = param("mean", "what removed pixels become", choices=("mean", "zero", "black", "blur"))

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, case: Case) -> Table:
        """One row an image."""
        end, said = _fill.fill(case.net, case.x, self.fill)
        pixels = case.x[0, 0].numel()
        counts = np.rint(np.linspace(0, pixels, self.steps + 1)).astype(np.int64)
        curves = np.stack([curve(case, b, case.ranks[b], counts, end[b]) for b in range(len(case.x))])
        return case.table(
            self, {"deletion": [area(c, counts / pixels) for c in curves], "curve": curves},
            {"deletion": f"area under the curve of the target's {case.read_as}; lower is better",
             "curve": "from the whole image to none of it"},
            (f"deletion: {self.steps} steps, removed pixels become {said}",))
