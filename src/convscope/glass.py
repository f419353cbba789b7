"""The glass-box network: operators put together. Runs forward and backward in NumPy, every number in sight.

A network is a list of calls. Each reads values by name, applies one operator and writes one value:

    forward     v[call] = operator.forward(v[a] for a in reads)
    backward    from the last call to the first: the gradients of what it read, given delta = ∂L/∂v[call], are added to
                what other readers of the same value have given already (a value that is read twice gets the sum)

Values are the input ('input'), parameters (by the names of the module's state dict) and what calls wrote. The backward pass
may be told to compute single calls in another way: that is how a mistake in somebody's own backpropagation is replayed.

Source: Rumelhart, Hinton, Williams 1986, "Learning representations by back-propagating errors"; accumulation over a graph:
Linnainmaa 1970.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from convscope.errors import UsageError
from convscope.operators import Operator

Array = Any
Values = dict[str, Any]  # arrays by name; a call of several results (an LSTM) has a tuple
Backward = Callable[..., tuple[Any, ...]]  # (operator, delta, *arrays) -> gradients, in the place of operator.backward
INPUT = "input"


@dataclass(frozen=True)
class Call:
    """One operation of a glass-box network."""

    name: str  # of the value that it writes
    operator: Operator | None  # None where it only takes an item
    reads: tuple[str | None, ...]  # values in the order of the operator's arrays; None where an optional one is missing
    address: str = ""  # the layer that a person knows it as; '' for plumbing
    item: int | None = None  # which of several results (of an LSTM, say) it takes from the call that it reads


@dataclass(frozen=True, eq=False)
class GlassBox:
    """A network whose every number can be looked at.

    >>> import numpy as np
    >>> from convscope.operators.linear import Linear
    >>> from convscope.operators.relu import ReLU
    >>> calls = (Call("fc", Linear(), (INPUT, "weight", None)), Call("relu", ReLU(), ("fc",)))
    >>> box = GlassBox("toy", calls, {"weight": np.array([[1.0, -2.0]])}, "relu")
    >>> values = box.forward(np.array([[3.0, 1.0]]))
    >>> values["relu"].tolist(), box.backward(values, {"relu": np.ones((1, 1))})["weight"].tolist()
    ([[1.0]], [[3.0, 1.0]])
    """

    name: str
    calls: tuple[Call, ...]
    parameters: dict[str, Array]  # everything that is neither input nor computed from it, buffers too
    output: str  # name of the value that is the answer
    learned: frozenset[str] = field(default_factory=frozenset[str])  # which parameters training changes

    def forward(self, x: Array, parameters: Mapping[str, Array] | None = None) -> Values:
        """Every value of the network for a batch x (B, C, H, W), by name; parameters among them."""
        values: Values = {INPUT: x, **(self.parameters if parameters is None else parameters)}
        for call in self.calls:
            values[call.name] = self.value(call, values)
        return values

    def value(self, call: Call, values: Mapping[str, Any]) -> Any:
        """What one call writes."""
        arrays = self.read(call, values)
        return arrays[0][call.item] if call.operator is None else call.operator.forward(*arrays)

    def read(self, call: Call, values: Mapping[str, Any]) -> tuple[Any, ...]:
        """The arrays that a call reads; one that is not there is None."""
        return tuple(None if name is None else values[name] for name in call.reads)

    def backward(self, values: Mapping[str, Any], deltas: Mapping[str, Any],
                 replaced: Mapping[str, Backward] | None = None, wanted: Collection[str] | None = None) -> Values:
        """∂L/∂value for every value that the loss depends on, by name, from `deltas` = ∂L/∂(the values named in it).

        `replaced`: call name -> what to use instead of its operator's own backward. `wanted`: names of the values whose
        gradients are asked for; what none of them needs may then be left out.
        """
        found: Values = dict(deltas)
        needed = None if wanted is None else self._on_the_way_to(wanted)
        for call in reversed(self.calls):
            delta = found.get(call.name)
            if delta is None or (needed is not None and call.name not in needed):
                continue
            if call.operator is None:
                self._put_item(found, call, delta, values)
                continue
            arrays = self.read(call, values)
            if replaced is not None and call.name in replaced:
                gradients = replaced[call.name](call.operator, delta, *arrays)
            elif needed is not None:
                gradients = call.operator.backward_for(tuple(name in needed for name in call.reads), delta, *arrays)
            else:
                gradients = call.operator.backward(delta, *arrays)
            for name, gradient in zip(call.reads, gradients, strict=True):
                if name is not None and gradient is not None:
                    found[name] = gradient if name not in found else found[name] + gradient
        return found

    def astype(self, dtype: Any) -> GlassBox:
        """The same network with its floating-point parameters in another precision."""
        cast = {k: v.astype(dtype) if np.issubdtype(v.dtype, np.floating) else v for k, v in self.parameters.items()}
        return dataclasses.replace(self, parameters=cast)

    def call(self, name: str) -> Call:
        """The call that writes `name`."""
        for call in self.calls:
            if call.name == name:
                return call
        raise UsageError(f"no call writes {name!r} in {self.name}", f"it has {len(self.calls)} calls", "use `calls`")

    def _on_the_way_to(self, wanted: Collection[str]) -> set[str]:
        """The values through which the gradients of the wanted ones flow: they themselves, and all that reads them."""
        found = set(wanted)
        for call in self.calls:
            if not found.isdisjoint(call.reads):
                found.add(call.name)
        return found

    def _put_item(self, found: Values, call: Call, delta: Array, values: Mapping[str, Any]) -> None:
        """Hand the delta of one of several results to the call that has them all: a tuple, None where nothing came."""
        source = call.reads[0]
        assert source is not None
        assert call.item is not None
        parts = list(found.get(source, (None,) * len(values[source])))
        parts[call.item] = delta if parts[call.item] is None else parts[call.item] + delta
        found[source] = tuple(parts)


__all__ = ["INPUT", "Backward", "Call", "GlassBox", "Values"]
