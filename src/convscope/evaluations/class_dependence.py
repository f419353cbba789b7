"""Does a map depend on what was asked? (Nie, Zhang, Patel 2018, "A theoretical explanation for perplexing behaviors of
backpropagation-based visualizations"; Mahendran and Vedaldi 2016, "Salient deconvolutional networks".)

    ρ = the smallest rank correlation of the map for the class and the map for one of the next classes
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from convscope.errors import UsageError
from convscope.evaluations._case import Case, spearman
from convscope.fields import param, validate
from convscope.results import Table
from convscope.run import Target, run


@dataclass(frozen=True)
class ClassDependence:
    """How much does the map change when another class is asked about?

    Asked again about the `others` classes that the network scores highest besides the target; Spearman's rank correlation of
    the signed maps, and of their sizes, the smallest over these classes. Columns: class_dependence (B,), the signed one;
    absolute (B,). −1 … 1; lower is better, 1 says that the class does not matter. A map that is constant for the other class
    correlates 0.

    Misleads where two classes have the same evidence (two kinds of cat): hence several, and the smallest. Errors: UsageError
    for units, networks with a single output, or without a method to ask again. Source: Nie, Zhang, Patel 2018.

    >>> ClassDependence(others=2)
    ClassDependence(others=2)
    """

    name: ClassVar[str] = "class-dependence"
    better: ClassVar[str] = "lower"
    ranks: ClassVar[bool] = False
    also: ClassVar[tuple[str, ...]] = ("absolute",)
    others: int = param(2, "how many other classes", low=1)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, case: Case) -> Table:
        """One row an image."""
        if case.method is None or case.target.unit is not None:
            found = "only its map was given" if case.method is None else f"{case.target.label} is a unit"
            raise UsageError("class dependence needs a class and a method to ask again", found, "ask about a class")
        output = torch.cat([run(case.net, one.expand(case.net.batch or 1, *one.shape[1:])).output.flatten(1)[:1]
                            for one in case.x.split(1)])
        if output.shape[1] < 2:
            raise UsageError("class dependence needs another class", "the network has one output", "leave it out")
        order = torch.sort(output, dim=1, descending=True, stable=True).indices
        signed, absolute = np.ones((2, len(case.x)))
        rivals = [[int(k) for k in row if int(k) != case.target.index][: self.others] for row in order]
        for other in sorted({k for row in rivals for k in row}):
            which = [b for b, row in enumerate(rivals) if other in row]
            found = case.method(case.net, case.x[which], Target(str(other), other)).map
            for b, one in zip(which, found, strict=True):
                signed[b] = min(signed[b], spearman(case.signed[b], one))
                absolute[b] = min(absolute[b], spearman(np.abs(case.signed[b]), np.abs(one)))
        return case.table(
            self, {"class_dependence": signed, "absolute": absolute},
            {"class_dependence": "smallest rank correlation with the map for another class; 1: the class does not matter",
             "absolute": "the same of the maps' sizes"},
            (f"class dependence: against the {self.others} other classes of the highest score",))
