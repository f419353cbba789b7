"""What the proofs share: a table of two ways to the same numbers, with how far they end up from each other.

An equivalence is called as `method(kept, layer) -> Table` with one captured run and a layer of it; `applies(kept, layer)`
says in words why it cannot be asked of that layer, or nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from convscope.errors import UsageError
from convscope.glass import Call
from convscope.mechanics.capture import Capture
from convscope.operators import Operator
from convscope.operators.dropout import Dropout
from convscope.results import Layer, Table

UNITS = {
    "difference": "largest absolute difference between the two ways; nan: a count, not compared",
    "largest": "largest absolute number among those compared",
}


@dataclass(frozen=True)
class Row:
    """One thing found in two ways: in words how, and the numbers of both; or, without numbers, two counts side by side."""

    what: str
    one_way: str
    other_way: str
    numbers: tuple[Any, Any] | None = None

    @property
    def difference(self) -> float:
        if self.numbers is None:
            return float("nan")
        one, other = (np.asarray(n) for n in self.numbers)
        if one.shape != other.shape:
            raise ValueError(f"{self.what}: {one.shape} against {other.shape}")
        return float(np.abs(one - other).max(initial=0.0))

    @property
    def largest(self) -> float:
        return float("nan") if self.numbers is None else float(np.abs(self.numbers[0]).max(initial=0.0))


def table(method: Any, kept: Capture, title: str, rows: Sequence[Row], notes: Sequence[str] = ()) -> Table:
    """The proof as a result."""
    columns = {
        "what": np.array([row.what for row in rows]),
        "difference": np.array([row.difference for row in rows]),
        "one_way": np.array([row.one_way for row in rows]),
        "other_way": np.array([row.other_way for row in rows]),
        "largest": np.array([row.largest for row in rows]),
    }
    origin = kept.net.origin(method, kept.tensor("input").detach())
    ways = (f"{row.what}: {row.one_way}; {row.other_way}" for row in rows)  # in full, whatever a terminal's width
    return Table(columns=columns, units=UNITS, title=title, notes=(*ways, *notes), origin=origin)


def operator(kept: Capture, layer: Layer) -> Operator | None:
    """What speaks for a layer, None where nobody does."""
    return next((c.operator for c in kept.reader.calls if c.address == layer.address), None)


def wants(kept: Capture, layer: Layer, kinds: type[Operator] | tuple[type[Operator], ...], names: str) -> str:
    """'' if the layer is one of these operations, else why not."""
    found = operator(kept, layer)
    return "" if isinstance(found, kinds) else f"{layer.address} is a {layer.operator}, not {names}"


def asked(method: Any, kept: Capture, layer: Layer) -> Call:
    """The layer's call; UsageError where the equivalence does not apply to it."""
    reason = method.applies(kept, layer)
    if reason:
        raise UsageError(f"{type(method).__name__} cannot be asked of {layer.address}", reason,
                         "`convscope equivalences` says which apply")
    return kept.call(layer)


def before(kept: Capture, name: str | None) -> Call | None:
    """The call that wrote a value, dropout (which does nothing here) passed over; None for input and parameters."""
    found = next((c for c in kept.reader.calls if c.name == name), None)
    return before(kept, found.reads[0]) if found is not None and isinstance(found.operator, Dropout) else found


def delta_of(kept: Capture, call: Call) -> tuple[Any, str]:
    """The layer's delta under the loss; without a loss its own output takes that place. And which of them, in words."""
    if kept.loss is None:
        return kept.value(call.name), "the layer's own output in the place of δ"
    return kept.output_delta(call), "δ of the loss"


def by(*sizes: int) -> str:
    """'6×28×28'."""
    return "×".join(map(str, sizes))
