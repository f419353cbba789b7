"""Read a network's graph for what neighbouring windows have in common, and say which layer ends it, and why.

Every node that depends on the image is one of

    map      one value a position of a map; windows that overlap share it (Map)
    row      one value, vector or whole map a window: from here on, windows are a batch like any other
    number   a size that follows the batch

A map goes through windows (convolution, pooling), through operations that treat every position alike, and ends in a dense
layer on the flattened map or in a mean over it: both are computed for all windows at once. Whatever else meets a map is a
*barrier*: there every window gets its own copy of the map, and nothing is shared any more.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.fx import Node
from torch.fx.node import map_arg

from convscope.dense import sharing
from convscope.dense.axes import Axis
from convscope.dense.primitives import Conv
from convscope.dense.steps import Map, Step, Unshared
from convscope.errors import UsageError
from convscope.layers import is_tensor, op_name
from convscope.network import Network
from convscope.run import class_name

__all__ = ["Barrier", "Map", "Reading", "Step", "read"]
_SILENT = ("_assert", "sym_constrain", "lift_fresh")


@dataclass(frozen=True)
class Barrier:
    """Where sharing ends."""

    layer: str
    reason: str

    def __str__(self) -> str:
        return f"{self.layer} {self.reason}"


@dataclass
class Reading:
    """A network, read: what is done, step by step, and what stands in the way of sharing."""

    net: Network
    context: bool  # padding is read as the real pixels around a window
    steps: list[Step] = field(default_factory=list[Step])
    states: dict[Node, Any] = field(default_factory=dict[Node, Any])
    constants: dict[Node, Any] = field(default_factory=dict[Node, Any])
    barriers: list[Barrier] = field(default_factory=list[Barrier])
    padded: list[Barrier] = field(default_factory=list[Barrier])  # layers whose padding is felt
    result: Node | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(n, m) of a window."""
        return self.net.input_shape[2], self.net.input_shape[3]

    @property
    def classes(self) -> int:
        return self.net.output.output_shape[1]

    @property
    def maps(self) -> list[Map]:
        return [state for state in self.states.values() if isinstance(state, Map)]

    @property
    def strides(self) -> tuple[int, int]:
        """The network's own stride, down and across: all strides multiplied, as far as maps go."""
        found = [tuple(max(axis.d, 1) for axis in state.axes) for state in self.maps]
        return max(d for d, _ in found), max(d for _, d in found)

    @property
    def overhang(self) -> int:
        """How many pixels beyond a window its score reads when real context takes the place of padding."""
        return max(axis.overhang for state in self.maps for axis in state.axes)

    @functools.cached_property
    def fresh(self) -> frozenset[Node]:
        """Nodes whose value a convolution or dense layer has just made and only one other reads: it may write over it."""
        found: set[Node] = set()
        for step in self.steps:
            made = isinstance(step.operation, Conv) or step.kind == "head" or op_name(step.node) in ("linear", "addmm")
            passed = step.kind == "same" and step.node.all_input_nodes[0] in found
            if step.lone and step.node is not self.result and (made or passed):
                found.add(step.node)
        return frozenset(found)

    @property
    def local(self) -> bool:
        """Is the score of a window the same function of its pixels wherever it lies, and shared to the end?"""
        return not self.barriers and not self.padded

    def name(self, index: int) -> str:
        return class_name(self.net, index)


def read(net: Network, context: bool = False) -> Reading:
    """Read the graph of a classifier of images. Errors: UsageError for networks that are none."""
    shape, out = net.input_shape, net.output.output_shape
    if len(shape) != 4 or len(net.inputs) != 1:
        raise UsageError(f"{net.name} does not read windows of an image",
                         f"it takes {len(net.inputs)} inputs, the first of shape {shape}", "scan a classifier of images")
    if len(out) != 2:
        raise UsageError(f"{net.name} gives no scores of classes", f"its output has shape {out}",
                         "a network that gives maps needs no scan: run it on the whole image")
    reading = Reading(net, context)
    _Reader(reading).read()
    return reading


class _Reader:
    """One pass over the graph."""

    def __init__(self, reading: Reading) -> None:
        self.reading, self.net = reading, reading.net
        self.address = {layer.node: layer.address for layer in self.net.layers}
        self.follow = ""  # the layer that plumbing belongs to

    def read(self) -> None:
        reading = self.reading
        image = self.net.inputs[0]
        for node in self.net.program.graph.nodes:
            self.follow = self.address.get(node.name, self.follow)
            if node.op == "placeholder":
                if node is image:
                    size = reading.size
                    reading.states[node] = Map((self.net.input_shape[1],), (Axis(size[0]), Axis(size[1])))
                else:
                    reading.constants[node] = self.net.tensors[node.name]
            elif node.op == "output":
                reading.result = node.args[0][self.net.output_at]
            elif node.op == "call_function":
                self._visit(node)

    def _visit(self, node: Node) -> None:
        reading, states = self.reading, self.reading.states
        live = [argument for argument in node.all_input_nodes if argument in states]
        if not live:
            reading.constants[node] = self._constant(node)
            return
        if op_name(node).startswith(_SILENT):
            return
        if not is_tensor(node) and not isinstance(states[live[0]], tuple):
            states[node] = "number"
            reading.steps.append(Step(node, "number"))
            return
        if not any(isinstance(states[argument], (Map, tuple)) for argument in live):
            self._row(node)
            return
        try:
            step = sharing.share(node, states, reading.constants, reading.context)
        except Unshared as problem:
            reading.barriers.append(Barrier(self.follow, str(problem)))
            self._row(node)
            return
        self._shared(node, step)

    def _row(self, node: Node) -> None:
        self.reading.states[node] = "row"
        self.reading.steps.append(Step(node, "row"))

    def _shared(self, node: Node, step: Step) -> None:
        reading = self.reading
        step = sharing.folded(step, reading.steps, reading.states)
        reading.states[node] = step.state
        reading.steps.append(step)
        if step.beyond is not None:
            reading.padded.append(Barrier(self.follow, step.beyond))

    def _constant(self, node: Node) -> Any:
        with torch.no_grad():
            return call(node, self.reading.constants.__getitem__)


def call(node: Node, value_of: Callable[[Node], Any]) -> Any:
    """The operation of a node on values."""
    target: Any = node.target
    return target(*map_arg(node.args, value_of), **map_arg(node.kwargs, value_of))
