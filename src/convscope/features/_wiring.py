"""Who writes what a layer reads? From a value in the graph back to the units that made it, channel by channel.

Followed: activation functions, pooling, dropout, spatial padding and resizing, means over positions (a channel stays
itself); batch norm in inference (a channel times γ/√(σ² + ε)); concatenation (the channel's own branch); slices of
channels; sums (every summand writes, with its sign); flattening (h·w features to a channel). Anything else ends the walk:
it is named itself.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.fx import Node

from convscope import layers, learned
from convscope.network import Network

Array = NDArray[np.float64]
Numbers = NDArray[np.int64]
_SAME = frozenset({
    "relu", "relu_", "leaky_relu", "prelu", "elu", "celu", "selu", "gelu", "silu", "mish", "sigmoid", "tanh",
    "softplus", "hardtanh", "hardsigmoid", "hardswish", "clamp", "clamp_min", "max_pool2d", "max_pool2d_with_indices",
    "max_pool1d", "avg_pool1d", "avg_pool2d", "adaptive_avg_pool2d", "_adaptive_avg_pool2d", "adaptive_max_pool2d",
    "adaptive_avg_pool1d", "mean", "amax", "dropout", "clone", "alias", "detach", "contiguous", "lift_fresh_copy",
    "_to_copy", "to", "constant_pad_nd", "pad", "reflection_pad2d", "replication_pad2d", "upsample_nearest2d",
    "upsample_bilinear2d", "getitem", "squeeze", "slice",
})
_SPLITTING = ("split", "split_with_sizes", "chunk")
_FLATTENING = ("view", "_unsafe_view", "reshape", "flatten")


@dataclass(frozen=True)
class Stream:
    """Channels of a value that one layer wrote."""

    address: str  # 'input' for the image
    channel: Numbers  # (n,) of the value
    unit: Numbers  # (n,) that wrote them
    scale: Array  # (n,) what batch norms and signs on the way multiply them with


class Wiring:
    """The channels of every value of one network."""

    def __init__(self, net: Network) -> None:
        self.net = net
        self.by_node = {layer.node: layer for layer in net.layers}
        self.nodes: dict[str, Node] = {node.name: node for node in net.program.graph.nodes}
        self.inputs = {node.name for node in net.inputs}
        self.streams = functools.cache(self._streams)

    def node(self, address: str) -> Node:
        return self.nodes[self.net[address].node]

    def reads(self, address: str) -> Node:
        """The value that a layer with weights reads."""
        return self.node(address).all_input_nodes[0]

    def _streams(self, node: Node) -> tuple[Stream, ...]:
        """Who wrote the channels of this value? Axis 1 counts them."""
        layer = self.by_node.get(node.name)
        own = shape(node)[1] if len(shape(node)) > 1 else 1
        address = layer.address if layer is not None else "input" if node.name in self.inputs else node.name
        ended = (Stream(address, np.arange(own), np.arange(own), np.ones(own)),)
        if node.op != "call_function" or (layer is not None and layer.operator in learned.WEIGHTED):
            return ended
        before = [n for n in layers.tensor_arguments(node)[0] if n is not None]
        live = [n for n in before if n.name in self._alive]
        followed = self._followed(node, before, live, own) if live else None
        return ended if followed is None else followed

    def _followed(self, node: Node, before: list[Node], live: list[Node], own: int) -> tuple[Stream, ...] | None:
        """The writers behind one operation; None where it ends the walk."""
        name, first = layers.op_name(node), live[0]
        if "batch_norm" in name:
            scale = self._norm(node)
            if scale is None:
                return None
            return tuple(replace(s, scale=s.scale * scale[s.channel]) for s in self.streams(first))
        if name == "cat":
            joined = len(live) == len(before) and _axis(node.args[1:], node) == 1
            return self._joined(before) if joined else None
        if name in ("add", "sub"):
            return self._summed(node, name, live) if all(shape(n)[1:2] == (own,) for n in live) else None
        if name == "getitem" and layers.op_name(first) in _SPLITTING:
            return self._part(first, int(node.args[1]), own)  # type: ignore[arg-type]
        if name == "slice" and node.args[1] == 1:
            start, step = int(node.args[2] or 0), int(node.args[4]) if len(node.args) > 4 else 1  # type: ignore[arg-type]
            return self._kept(first, start + shape(first)[1] if start < 0 else start, own, step)
        if name in ("pad", "constant_pad_nd") and len(node.args[1]) == 2 * (len(shape(node)) - 1):  # type: ignore[arg-type]
            return self._kept(first, -int(node.args[1][-2]), own)  # type: ignore[index,arg-type]
        if name in _FLATTENING:
            positions = _positions(node)
            return tuple(_spread(s, positions) for s in self.streams(first)) if positions else None
        reduced = node.args[1] if name in ("mean", "amax") and len(node.args) > 1 else ()
        dims = [d % len(shape(first)) for d in (reduced if isinstance(reduced, (list, tuple)) else [reduced])]  # type: ignore
        plain = name in _SAME and len(live) == 1 and shape(first)[1:2] == (own,) and 1 not in dims
        return self.streams(first) if plain else None

    def _norm(self, node: Node) -> Array | None:
        """(C,) γ/√(σ² + ε) of a batch norm in inference; None where its statistics are not plain tensors."""
        schema: Any = getattr(node.target, "_schema", None)
        arguments = {a.name: v for a, v in zip(schema.arguments, node.args, strict=False)} | dict(node.kwargs)
        gamma, variance = arguments.get("weight"), arguments.get("running_var")
        plain = isinstance(variance, Node) and variance.name in self.net.tensors
        if not plain or "no_training" not in layers.op_name(node):
            return None
        scale = 1 / np.sqrt(self._tensor(variance) + float(arguments["eps"]))  # type: ignore[arg-type]
        if gamma is None:
            return scale
        return scale * self._tensor(gamma) if isinstance(gamma, Node) and gamma.name in self.net.tensors else None

    def _tensor(self, node: Node) -> Array:
        return self.net.tensors[node.name].double().cpu().numpy()

    def _joined(self, parts: list[Node]) -> tuple[Stream, ...]:
        found: list[Stream] = []
        start = 0
        for part in parts:
            found += [replace(s, channel=s.channel + start) for s in self.streams(part)]
            start += shape(part)[1]
        return tuple(found)

    def _summed(self, node: Node, name: str, live: list[Node]) -> tuple[Stream, ...]:
        factor = float(node.kwargs.get("alpha", 1)) * (-1 if name == "sub" else 1)  # type: ignore[arg-type]
        found: list[Stream] = []
        for at, part in enumerate(live):
            second = at > 0 or (part is node.args[1] and part is not node.args[0])
            found += [replace(s, scale=s.scale * (factor if second else 1)) for s in self.streams(part)]
        return tuple(found)

    def _part(self, split: Node, at: int, own: int) -> tuple[Stream, ...] | None:
        """Output number `at` of a split along the channels."""
        if _axis(split.args[2:], split) != 1:
            return None
        return self._kept(split.all_input_nodes[0], sum(layers.shape_of(v)[1] for v in split.meta["val"][:at]), own)

    def _kept(self, before: Node, start: int, own: int, step: int = 1) -> tuple[Stream, ...]:
        """Channels start, start + step, …, counted anew; a negative start leaves room for padded ones."""
        found: list[Stream] = []
        for s in self.streams(before):
            place, rest = np.divmod(s.channel - start, step)
            kept = (rest == 0) & (place >= 0) & (place < own)
            found.append(Stream(s.address, place[kept], s.unit[kept], s.scale[kept]))
        return tuple(found)

    @functools.cached_property
    def _alive(self) -> frozenset[str]:
        """The values that depend on the image."""
        found = set(self.inputs)
        for node in self.net.program.graph.nodes:
            if any(n.name in found for n in node.all_input_nodes):
                found.add(node.name)
        return frozenset(found)

    def grid(self, node: Node) -> tuple[int, int, int]:
        """(C, h, w) that the features of a vector (B, C·h·w) come from; (C, 1, 1) where they were never a map."""
        own = shape(node)[-1]
        while node.op == "call_function" and len(shape(node)) == 2:
            before = [n for n in node.all_input_nodes if n.name in self._alive]
            if layers.op_name(node) in _FLATTENING and len(shape(before[0])) == 4:
                return shape(before[0])[1], shape(before[0])[2], shape(before[0])[3]
            if layers.op_name(node) not in _SAME or len(before) != 1 or shape(before[0])[-1] != own:
                break
            node = before[0]
        return own, 1, 1


def _positions(node: Node) -> int:
    """How many features a flattening makes of a channel; 0 where the channels do not stay in order."""
    before, after = shape(node.all_input_nodes[0]), shape(node)
    if len(after) == 2 and len(before) > 2:
        return math.prod(before[2:])
    return 1 if len(after) > 1 and before[:2] == after[:2] else 0


def _spread(stream: Stream, positions: int) -> Stream:
    channel = (stream.channel[:, None] * positions + np.arange(positions)).reshape(-1)
    return Stream(stream.address, channel, np.repeat(stream.unit, positions), np.repeat(stream.scale, positions))


def shape(node: Node) -> tuple[int, ...]:
    """The shape of a value with B = 1; empty for what is no tensor."""
    value = node.meta.get("val")
    return () if value is None or not layers.is_tensor(node) else layers.shape_of(value)


def _axis(rest: tuple[Any, ...], node: Node) -> int:
    axis = int(rest[0]) if rest else int(node.kwargs.get("dim", 0))  # type: ignore[arg-type]
    return axis + len(shape(node)) if axis < 0 else axis
