"""The pointing game (Zhang, Lin, Brandt, Shen, Sclaroff 2016, "Top-down neural attention by excitation backprop").

    hit = [the map's largest value lies on the object, or within 15 px of it]
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.ndimage import distance_transform_edt

from convscope.errors import UsageError
from convscope.evaluations._case import Case
from convscope.fields import param, validate
from convscope.results import Table


@dataclass(frozen=True)
class PointingGame:
    """Does the map point at what decides?

    Columns: pointing_game (B,), 1 for a hit, 0 for a miss; distance (B,) of the pixel of most evidence from the truth, px;
    inside (B,), the share of the map's positive evidence that lies on the truth; chance (B,), the share of pixels that would
    be a hit. Higher is better. A map without any positive evidence has nothing inside.

    The tolerance is 15 px of an image of 224 px, in proportion elsewhere.

    Misleads where the truth is a box that holds more than the evidence, and one pixel says little: see `inside`. Errors:
    UsageError without a truth, or with an empty one. Source: Zhang et al. 2016; the share inside: Wang et al. 2020,
    "Score-CAM".

    >>> PointingGame().reach(448, 500)
    30.0
    """

    name: ClassVar[str] = "pointing-game"
    better: ClassVar[str] = "higher"
    ranks: ClassVar[bool] = True
    also: ClassVar[tuple[str, ...]] = ("inside",)
    tolerance: float | None = param(None, "how far beside still hits; by default 15/224 of the shorter side", unit="px",
                                    low=0)

    def __post_init__(self) -> None:
        validate(self)

    def reach(self, height: int, width: int) -> float:
        """The tolerance in pixels."""
        return self.tolerance if self.tolerance is not None else round(15 / 224 * min(height, width), 2)

    def __call__(self, case: Case) -> Table:
        """One row an image."""
        if case.truth is None:
            raise UsageError("the pointing game needs to know where the evidence is", "these images have no masks",
                             "ask it of the planted set")
        if not case.truth.any((1, 2)).all():
            raise UsageError("the pointing game needs some evidence in every image",
                             f"the mask of image {int((~case.truth.any((1, 2))).argmax())} is empty", "leave it out")
        reach = self.reach(*case.x.shape[2:])
        away = np.stack([np.asarray(distance_transform_edt(~mask)) for mask in case.truth])
        distance = away.reshape(len(away), -1)[np.arange(len(away)), case.ranks.reshape(len(away), -1).argmin(1)]
        positive = np.maximum(case.evidence, 0)
        total = positive.sum((1, 2))
        inside = np.where(total > 0, (positive * case.truth).sum((1, 2)) / np.where(total > 0, total, 1), 0.0)
        return case.table(
            self,
            {"pointing_game": (distance <= reach).astype(np.float64), "distance": distance, "inside": inside,
             "chance": (away <= reach).mean((1, 2))},
            {"pointing_game": f"1: the pixel of most evidence is at most {reach:g} px from the truth; higher is better",
             "distance": "of that pixel from the truth, px", "inside": "share of the positive evidence on the truth",
             "chance": "share of the pixels that are within the tolerance"},
            (f"pointing game: tolerance {reach:g} px; a random pixel hits {(away <= reach).mean():.0%} of the time",))
