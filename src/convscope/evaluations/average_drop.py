"""Average drop and increase in confidence (Chattopadhyay, Sarkar, Howlader, Balasubramanian 2018, "Grad-CAM++").

    drop = max(0, Y − O) / Y        increase = [O > Y]        Y = p(x), O = p(m·x + (1 − m)·fill), m = max(0, A)/max A
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from convscope.errors import UsageError
from convscope.evaluations import _fill
from convscope.evaluations._case import Case
from convscope.fields import param, validate
from convscope.results import Table


@dataclass(frozen=True)
class AverageDrop:
    """How much of the answer is lost when only what the map shows is left of the image?

    The image is faded to the fill where the map is small: m = max(0, A)/max A in [0, 1], in the network's units (zeros there
    are grey for many networks: the fill is named). Columns: average_drop (B,), a share 0 … 1; increase (B,), 1 where the
    target's probability rose. Lower is better.

    Misleads: a map that shows everything loses nothing, and an exact one that is small loses much; so no baseline has to be
    beaten here. Errors: UsageError for a unit (its value is no probability, and a
    share of it means nothing where it is negative). Source: Chattopadhyay et al. 2018.

    >>> AverageDrop()
    AverageDrop(fill='mean')
    """

    name: ClassVar[str] = "average-drop"
    better: ClassVar[str] = "lower"
    ranks: ClassVar[bool] = False  # large maps win: a random map loses less than an exact, small one
    also: ClassVar[tuple[str, ...]] = ("increase",)
    fill: str = param("mean", "what the image is faded to", choices=("mean", "zero", "black", "blur"))

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, case: Case) -> Table:
        """One row an image."""
        if case.target.unit is not None:
            raise UsageError("average drop needs a class", f"{case.target.label} is a unit", "ask about a class")
        end, said = _fill.fill(case.net, case.x, self.fill)
        positive = np.maximum(case.evidence, 0)
        most = positive.max((1, 2), keepdims=True)
        mask = torch.from_numpy(positive / np.where(most > 0, most, 1)).to(case.x)[:, None]
        # One by one: the same bits in every batch.
        before, after = (np.concatenate([case.chances(one[None]) for one in images])
                         for images in (case.x, mask * case.x + (1 - mask) * end))
        return case.table(
            self, {"average_drop": np.maximum(0, before - after) / np.maximum(before, np.finfo(np.float64).tiny),
                   "increase": (after > before).astype(np.float64)},
            {"average_drop": "share of the target's probability that is lost; lower is better",
             "increase": "1: the probability rose"}, (f"average drop: the image is faded to {said}",))
