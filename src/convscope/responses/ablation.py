"""What a unit does: its response is replaced everywhere and the rest of the network run again (Morcos et al. 2018).

    change[u, k] = mean over images of (y_k with a[u, ·] = c − y_k)       c = 0, or the mean of a[u, ·] over the images
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope import run
from convscope.errors import UnknownName, UsageError
from convscope.fields import param, validate
from convscope.network import units_of
from convscope.responses._cut import Cut
from convscope.responses._effects import Effects, labels_of, sample
from convscope.responses._study import Study
from convscope.results import Table

PROVED = 3  # units of which a whole pass is made, to compare


@dataclass(frozen=True)
class Ablation:
    """What does the network lose or gain, class by class, when one unit falls silent?

    One row a unit (U): the classes whose outputs fall and rise most and by how much, the mean absolute change over classes,
    and how the accuracy changes; with `unit`, one row a class (K): its output's change over all images and over the class's
    own, and its accuracy before and after. Changes are in units of the network's output, accuracies shares 0 … 1. Exact: the
    graph is run again from the layer onwards; a few units are compared with whole passes and the difference is said.

    Misleads where units can stand in for each other (none of them then matters alone), and because a silent unit may be
    unlike anything the later layers have met; the mean is nearer to it than zero. Errors: UnknownName for a unit,
    UsageError for a layer without units or an output that is not (B, K). Source: Morcos et al. 2018.

    >>> Ablation(fill="mean", most=50).unit is None
    True
    """

    unit: int | None = param(None, "one unit, for a row a class; otherwise all, a row each", low=0)
    fill: str = param("zero", "what takes the unit's place: zero, or its mean over the sampled images and positions",
                      choices=("zero", "mean"))
    most: int = param(100, "images at most; of more, a random sample, as many of each class as can be", low=1)
    seed: int = param(0, "seed of that sample", low=0)
    together: int = param(50, "images run together", low=1)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, study: Study, layer: str) -> Table:
        """The table of the layer at this address."""
        net, found = study.net, study.net[layer]
        count, shape = units_of(found), net.output.output_shape
        if count is None:
            raise UsageError(f"{layer} has no units", f"its output is {found.output_shape}", "choose a layer with channels")
        if len(shape) != 2:
            raise UsageError(f"{net.name} does not answer with classes", f"its output is {shape}", "ablation needs (B, K)")
        if self.unit is not None and self.unit >= count:
            raise UnknownName(f"no unit {self.unit} in {layer}", f"it has {count}", f"use 0 … {count - 1}")
        units = list(range(count)) if self.unit is None else [self.unit]
        chosen = sample(study.collection.labels, self.most, self.seed)
        labels, notes = labels_of(study)
        fills = self._fills(study, layer, chosen, count)
        effects = Effects(len(units), shape[1])
        proved, largest = units[:: max(1, len(units) // PROVED)][:PROVED], 0.0
        for cut, index, kept in self._cuts(study, layer, chosen):
            effects.clean(cut.clean[:kept].double().cpu(), labels[index])
            for row, unit in enumerate(units):
                output = cut.after(_silenced(found.unit_axis or 1, unit, fills[unit]))
                effects.add(row, output[:kept].double().cpu(), labels[index])
                if unit in proved and effects.batches == 1:
                    whole = cut.whole(_silenced(found.unit_axis or 1, unit, fills[unit]))
                    largest = max(largest, float((whole - output).abs().max()))
        used = effects.images
        notes = (f"{used:,} of {len(study.collection):,} images, seed {self.seed}"
                 + (f"; {len(chosen) - used:,} more could not be read" if used < len(chosen) else ""),
                 f"each unit set to {'0' if self.fill == 'zero' else 'its mean'} at every position; {len(proved)} of them "
                 f"compared with whole passes: largest difference {largest:.2g}", *notes)
        names = np.array([run.class_name(net, k) for k in range(shape[1])])
        columns, meanings = effects.by_class(names) if self.unit is not None else effects.by_unit(names)
        title = f"what the units of {layer} do" if self.unit is None else f"what {layer}/{self.unit} does, class by class"
        return Table(columns=columns, units=meanings, title=title, notes=notes,
                     origin=study.origin(self, self.seed))

    def _cuts(self, study: Study, layer: str, chosen: NDArray[np.int64]) -> Iterator[tuple[Cut, NDArray[np.int64], int]]:
        """Each batch, run once: the cut network, the images' numbers, and how many rows are real."""
        net = study.net
        size = net.batch or self.together
        for batch in study.collection.batches(study.preprocess, size, order=chosen):
            x: Tensor = batch.x
            if net.batch is not None:
                x = torch.cat([x, x[-1:].repeat(net.batch - len(x), 1, 1, 1)])
            yield Cut(net, layer, x), batch.index, len(batch.index)

    def _fills(self, study: Study, layer: str, chosen: NDArray[np.int64], count: int) -> NDArray[np.float64]:
        """(U,) what takes each unit's place."""
        if self.fill == "zero":
            return np.zeros(count)
        total, seen = np.zeros(count), 0
        for cut, _, kept in self._cuts(study, layer, chosen):
            value = cut.value.movedim(study.net[layer].unit_axis or 1, 1).reshape(len(cut.value), count, -1)[:kept]
            total += value.double().sum((0, 2)).cpu().numpy()
            seen += kept * value.shape[2]
        return total / seen


def _silenced(axis: int, unit: int, fill: float) -> Any:
    """The change of a layer's value (B, …) that puts `fill` in one unit's place."""

    def change(value: Tensor) -> Tensor:
        changed = value.clone()
        changed.select(axis, unit).fill_(fill)
        return changed

    return change
