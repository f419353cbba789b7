"""Which layers speak of the same units, and which units of a layer come first.

    convolution → batch norm → activation        one set of units, three layers; asked about before the activation function
"""

from __future__ import annotations

import numpy as np

from convscope.network import Network, units_of
from convscope.record import Record
from convscope.results import Layer
from convscope.synthesis.objective import ACTIVATIONS

FILTERING = ("conv1d", "conv2d", "conv3d", "conv_transpose2d", "linear")
NORMS = ("batch_norm",)


def principals(net: Network, measured: tuple[str, ...]) -> dict[str, str]:
    """For every measured layer the one that its units are asked about: where its chain ends before the activation.

    Layers that neither filter nor follow such a layer (poolings, sums, concatenations) have none.
    """
    found: dict[str, str] = {}
    for layer in net.layers:
        if layer.address not in measured:
            continue
        if layer.operator in FILTERING:
            found[layer.address] = _last(net, layer, measured)
        elif layer.operator in (*NORMS, *ACTIVATIONS) and len(layer.parents) == 1 and layer.parents[0] in found:
            found[layer.address] = found[layer.parents[0]]
    return found


def _last(net: Network, layer: Layer, measured: tuple[str, ...]) -> str:
    """The batch norm behind a convolution, if it is the only one that reads it; else the convolution."""
    readers = [one for one in net.layers if layer.address in one.parents]
    alone = len(readers) == 1 and readers[0].operator in NORMS and readers[0].address in measured
    return readers[0].address if alone else layer.address


def ranking(record: Record, layer: str) -> tuple[list[int], int, str]:
    """The units of a layer, the most telling first; how many were never above zero (they come last); and what the order is.

    By class selectivity where labels are known, otherwise by how far the strongest response stands out.
    """
    columns = record.table(layer).columns
    strongest = columns["maximum"]
    selective = columns.get("selectivity")
    if selective is not None and np.isfinite(selective).any():
        value, words = np.nan_to_num(selective, nan=-1), "most selective for a class first"
    else:
        spread = np.where(columns["deviation"] > 0, columns["deviation"], np.inf)
        value, words = (strongest - columns["mean"]) / spread, "strongest response furthest from the mean first"
    dead = strongest <= 0
    order = np.lexsort((np.arange(len(value)), -value, dead))
    return order.tolist(), int(dead.sum()), words


def unit_count(net: Network, layer: str) -> int:
    return units_of(net[layer]) or 0
