"""The numbers of every unit of a layer over a collection, from the record of a sweep.

    norm[u] = ‖w_u‖₂     the rest: see `convscope.record`
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from convscope import learned
from convscope.fields import validate
from convscope.responses._study import Study
from convscope.results import Table


@dataclass(frozen=True)
class Units:
    """What did each unit of a layer do over the collection?

    One row a unit (U): mean, deviation, extremes, share of zeros, quantiles, class means and selectivity as far as they were
    measured, the strongest images (U, k), and `norm`, the Euclidean length of the unit's weights, where the layer has any.
    `units` says what each column means.

    Misleads where the collection is unlike the data that the network is used on. Errors: UnknownName for a layer that
    was not measured. Source: Morcos, Barrett, Rabinowitz, Botvinick 2018 (selectivity).

    >>> Units()
    Units()
    """

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, study: Study, layer: str) -> Table:
        """The table of the layer at this address."""
        table = study.record.table(layer)
        columns, units = dict(table.columns), dict(table.units)
        norms = learned.norms(study.net, study.net[layer])
        if norms is not None and len(norms) == len(table):
            columns["norm"], units["norm"] = norms.cpu().numpy(), "Euclidean length of the unit's weights ‖w‖₂"
        return dataclasses.replace(table, columns=columns, units=units, origin=study.origin(self))
