"""The words that reading uses: a shared map, a step, a reason; and the arguments and shapes of a node."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor
from torch.fx import Node

from convscope.dense.axes import Axis, Tap
from convscope.dense.primitives import Operation
from convscope.layers import shape_of

BATCH = 1009  # a large prime for the batch, so that no reshape can take it for something else


class Unshared(Exception):
    """Windows have nothing in common after this operation; the message says why."""


@dataclass(frozen=True)
class Map:
    """A value that windows share: `lead` axes (mostly the channels), then the map's two."""

    lead: tuple[int, ...]
    axes: tuple[Axis, Axis]
    flat: bool = False  # written as one vector a window: lead, rows, columns

    @property
    def shape(self) -> tuple[int, ...]:
        return (*self.lead, self.axes[0].n, self.axes[1].n)


@dataclass(frozen=True)
class Step:
    """One thing to do. `kind`: window, alike, join, same, pick, head, over, row or number."""

    node: Node
    kind: str
    state: Any = None  # Map, tuple of Maps, 'row'
    operation: Operation | None = None
    taps: tuple[Tap, Tap] | None = None
    facts: dict[str, Any] = field(default_factory=dict[str, Any])
    beyond: str | None = None  # what padding is felt, in words

    @property
    def lone(self) -> bool:
        """Is its value read once only?"""
        return len(self.node.users) == 1


def arguments(node: Node, constants: Mapping[Node, Any]) -> dict[str, Any]:
    """The arguments of a call by the names of its schema, defaults filled in, constants in place of their nodes."""
    schema = getattr(node.target, "_schema", None)
    if schema is None:
        return {}
    named: dict[str, Any] = {}
    for position, argument in enumerate(schema.arguments):
        given = node.args[position] if position < len(node.args) else node.kwargs.get(argument.name, argument.default_value)
        named[argument.name] = constants.get(given, given) if isinstance(given, Node) else given
    return named


def dims(named: Mapping[str, Any], state: Map) -> set[int]:
    """Which axes an operation speaks of, counted from the last of the map."""
    given = named.get("dim", named.get("dims"))
    if given is None and ("dim0" in named):
        given = [named["dim0"], named["dim1"]]
    if given is None:
        return set()
    count = len(state.shape) + 1
    found = {d if d < 0 else d - count for d in (given if isinstance(given, (list, tuple)) else [given])}
    return found if all(-count < d for d in found) else {-1}  # the batch is no axis to work on


def shape(node: Node, batch: bool = False) -> tuple[int, ...]:
    """The shape of a node's value, without the batch unless `batch`."""
    found = shape_of(node.meta["val"], BATCH)
    return found if batch else found[1:]


def two(value: Any) -> tuple[int, int]:
    """A setting for rows and columns, given once or for each."""
    several = list(value) if isinstance(value, (list, tuple)) else [value]
    return (several[0], several[-1])


def three(value: Any) -> tuple[int, int, int]:
    """The same for three axes."""
    several = list(value) if isinstance(value, (list, tuple)) else [value] * 3
    return (several[0], several[-2], several[-1])


def numbers(node: Node) -> int:
    """How many numbers a node has for one window."""
    value = node.meta.get("val")
    several = value if isinstance(value, (tuple, list)) else [value]
    return sum(math.prod(shape_of(one)) for one in several if isinstance(one, Tensor))
