"""Pixel flipping, by regions (Bach et al. 2015, "On pixel-wise explanations for non-linear classifier decisions by
layer-wise relevance propagation"; Samek et al. 2017, "Evaluating the visualization of what a deep neural network has
learned").

    AOPC = 1/(L + 1) · Σ_{k=0..L} (p(x) − p(x with the k regions of most evidence replaced by random pixels))
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from convscope.errors import UsageError
from convscope.evaluations._case import Case, curve, rank
from convscope.fields import param, validate
from convscope.results import Table


@dataclass(frozen=True)
class PixelFlipping:
    """How much of the answer is lost, on average, when the most important regions become random pixels?

    The image is cut into squares (those at the border are smaller), ranked by the sum of the evidence in them; the first L
    are replaced one after the other by pixels drawn evenly between the image's least and greatest value in each channel.
    AOPC: the mean loss of the target's probability (of a unit: of its value) over k = 0 … L and over `repeats` draws, at
    most 1. Columns: pixel_flipping (B,), curve (B, L + 1). Higher is better.

    Misleads where random pixels are evidence for another class, or for this one. Errors: UsageError. Source: Bach et al.
    2015 (single pixels); Samek et al. 2017 (regions of 9×9 px, L = 100).

    >>> PixelFlipping(region=3).regions(7, 6).tolist()[3]
    [2, 2, 2, 3, 3, 3]
    """

    name: ClassVar[str] = "pixel-flipping"
    better: ClassVar[str] = "higher"
    ranks: ClassVar[bool] = True
    also: ClassVar[tuple[str, ...]] = ()
    region: int | None = param(None, "side of a region; by default a 25th of the shorter side, at least 2", unit="px", low=1)
    share: float = param(0.16, "share of the regions that are flipped (the paper: 100 of 625)", low=0.0, high=1.0)
    repeats: int = param(3, "draws of random pixels, averaged", low=1)

    def __post_init__(self) -> None:
        validate(self)

    def regions(self, height: int, width: int) -> NDArray[np.int64]:
        """(H, W) the number of the region that each pixel lies in, row by row."""
        side = self.side(height, width)
        rows, columns = np.arange(height) // side, np.arange(width) // side
        return rows[:, None] * (columns[-1] + 1) + columns

    def side(self, height: int, width: int) -> int:
        shorter = min(height, width)
        side = self.region or min(max(2, round(shorter / 25)), shorter)
        if side > shorter:
            raise UsageError(f"regions of {side} px do not fit into {height}×{width}", "they are larger than the image",
                             f"use at most {shorter}")
        return side

    def __call__(self, case: Case) -> Table:
        """One row an image."""
        cells = self.regions(*case.x.shape[2:])
        count = int(cells.max()) + 1
        last = max(1, round(self.share * count))
        curves = np.zeros((len(case.x), last + 1))
        for b, x in enumerate(case.x):
            ranks = rank(np.bincount(cells.reshape(-1), case.evidence[b].reshape(-1), count), case.seed)
            low, high = (v.double().cpu().numpy() for v in (x.amin((1, 2), keepdim=True), x.amax((1, 2), keepdim=True)))
            for n in range(self.repeats):
                noise = low + (high - low) * case.draws(b, n).random(x.shape)
                curves[b] += curve(case, b, ranks[cells], np.arange(last + 1), torch.from_numpy(noise).to(x)) / self.repeats
        side = self.side(*case.x.shape[2:])
        return case.table(
            self, {"pixel_flipping": (curves[:, :1] - curves).mean(1), "curve": curves},
            {"pixel_flipping": f"AOPC: mean loss of the target's {case.read_as}; higher is better",
             "curve": f"with 0 … {last} regions flipped"},
            (f"pixel flipping: {last} of {count} regions of {side}×{side} px, random pixels, {self.repeats} draws",))
