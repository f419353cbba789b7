"""Every equivalence asked of one layer: one row each, with its numbers, or the reason why it does not apply."""

from __future__ import annotations

from typing import Any

import numpy as np

from convscope import registry
from convscope.mechanics.capture import Capture
from convscope.results import Layer, Table

FAMILY = "equivalences"


def prove_all(kept: Capture, layer: Layer) -> Table:
    """What is this layer the same as? One row for each equivalence: the sentence with its numbers, the largest difference.

    `difference` (float64) is over everything that the proof compares, `relative` the largest of the rows' differences, each
    over the largest number compared in that row; both nan where the equivalence does not apply: `says` then gives the
    reason. The sentences stand in the notes too, where they are not cut to a terminal's width.
    """
    rows = [_row(registry.load(FAMILY, name)(), kept, layer) for name in registry.names(FAMILY)]
    columns = {
        "equivalence": np.array(registry.names(FAMILY)),
        "difference": np.array([row[1] for row in rows]),
        "relative": np.array([row[2] for row in rows]),
        "says": np.array([row[0] for row in rows]),
    }
    proved = int(np.isfinite(columns["difference"]).sum())
    units = {"difference": "largest absolute difference between the two ways; nan: it does not apply to this layer",
             "relative": "the same over the largest number compared"}
    sentences = zip(registry.names(FAMILY), rows, strict=True)
    return Table(
        columns=columns, units=units, title=f"{layer.address} ({layer.operator}): {proved} of {len(rows)} apply",
        notes=tuple(f"{name}: {row[0]}" + (f"; {row[3]}" if row[3] else "") for name, row in sentences),
        origin=kept.net.origin("equivalences", kept.tensor("input").detach()))


def _row(method: Any, kept: Capture, layer: Layer) -> tuple[str, float, float, str]:
    reason = method.applies(kept, layer)
    if reason:
        return f"does not apply: {reason}", float("nan"), float("nan"), ""
    found: Table = method(kept, layer)
    compared = ~np.isnan(found.columns["difference"])
    off, largest = found.columns["difference"][compared], found.columns["largest"][compared]
    relative = float((off / np.where(largest > 0, largest, 1.0)).max())
    ways = len(found)  # the first notes repeat the rows
    return found.title.removeprefix(f"{layer.address}: "), float(off.max()), relative, "; ".join(found.notes[ways:])
