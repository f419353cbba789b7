"""Which units of a layer were never, or always, on over a sweep: read from the extremes that the sweep kept.

Judged where it decides: at the ReLU that the layer feeds, past batch norm. The value that this ReLU reads is not above
zero anywhere ("never on": nothing passes, no gradient either), or above zero everywhere ("always on": the ReLU changes
nothing).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convscope.errors import StoreError
from convscope.features._given import Given
from convscope.network import Network, units_of
from convscope.record import Record
from convscope.results import Layer

_RECTIFIERS = ("relu", "relu6")
_BETWEEN = ("batch_norm",)


@dataclass(frozen=True)
class Responses:
    """(U,) each: never above zero, never zero or below; and what was looked at."""

    never: NDArray[np.bool_]
    always: NDArray[np.bool_]
    note: str


def responses(net: Network, layer: Layer, given: Given) -> Responses:
    """What a sweep says of the layer's units. Errors: StoreError for the sweep of another network."""
    none = np.zeros(units_of(layer) or 0, bool)
    if given.record is None:
        return Responses(none, none, "responses were not looked at: no sweep was given")
    record = given.record
    checked(net, record)
    chain = _to_rectifier(net, layer)
    if not chain:
        return Responses(none, none, f"responses say nothing here: {layer.address} feeds no ReLU of its own")
    # What the ReLU reads tells both; what it gives is the same above zero.
    measured = next((one.address for one in (chain[-2], chain[-1]) if one.address in record.facts.layers), None)
    if measured is None or record.counted == 0:
        return Responses(none, none, f"responses were not looked at: the sweep has not measured {chain[-2].address}")
    found = record.tally(measured)
    never = found.value[:, 0] <= 0
    always = found.minimum > 0 if found.full else none
    lacking = "" if found.full else "; whether always on was not measured (measure='all' does)"
    return Responses(never, always, f"{int(never.sum())} of {found.units} units never on and {int(always.sum())} always on, "
                     f"over {record.counted:,} images, read at {measured}{lacking}")


def checked(net: Network, record: Record) -> None:
    """Errors: StoreError for the sweep of another network."""
    if record.facts.network != net.print:
        raise StoreError(f"the record in {record.folder} is of another network",
                         f"print {record.facts.network}, this one has {net.print}", "sweep again with this network")


def _to_rectifier(net: Network, layer: Layer) -> list[Layer]:
    """The layer, batch norm, …, ReLU; empty where something else, or more than one, reads it on the way."""
    chain = [layer]
    while True:
        readers = [one for one in net.layers if chain[-1].address in one.parents]
        if len(readers) != 1 or readers[0].operator not in (*_RECTIFIERS, *_BETWEEN):
            return []
        chain.append(readers[0])
        if readers[0].operator in _RECTIFIERS:
            return chain
