"""A clean pass once; then changed passes that compute only what differs from it. Exact: equal to full passes up to rounding.

    passes = Incremental(net, x)                          # x (1, C, H, W); keeps every value of the clean pass
    y = passes.covered(windows, filled)                   # (N, K): one window of x replaced by that of `filled` each time
    y = passes.changed(other)                             # (1, K): another image, recomputed where it differs
    y = passes.ablated("conv3", channels)                 # (N, K): one channel set to zero each time, from that layer on

The graph is a private copy with batch norm folded and channels last (`fast`). Where a change reaches most of a map, or an
operation reads all of it (global pooling, squeeze-and-excitation), whole maps are computed from there on.

Sources: Nakandala, Kumar, Papakonstantinou 2019, "Incremental and Approximate Inference for Faster Occlusion-based Deep CNN
Explanations" (regions that grow layer by layer, written there for three networks by hand).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.fx import Node
from torch.fx.node import map_arg

from convscope import layers, run
from convscope.errors import ShapeError, UsageError
from convscope.fast import fast
from convscope.incremental import rules
from convscope.incremental.operations import Reach, again, reach
from convscope.incremental.regions import Region, Span, groups
from convscope.incremental.rules import State
from convscope.mechanics.reading import Reader
from convscope.network import Network
from convscope.operators.local_response_norm import LocalResponseNorm

Progress = Callable[[int, int, str], None]
HEAD = 256  # rows that the layers behind the last map are run on at once


class Incremental:
    """Changed passes of `net` around one image.

    `stop`: a layer's address, to get its values instead of the output's. Errors: ShapeError for a batch or other size.
    """

    def __init__(self, net: Network, x: Tensor, stop: str | None = None) -> None:
        x = net.check_input(x)
        if len(x) != 1 or x.ndim != 4:
            raise ShapeError("changed passes go around one image 1×C×H×W", f"got {tuple(x.shape)}", "give images one by one")
        if net.batch not in (None, 1):
            raise UsageError(f"{net.name} takes batches of {net.batch} only", "changed passes need any batch",
                             "export it with a free batch axis")
        self.net = net = net.at(x.shape[1:])
        # Batch norms are folded where their convolution is not asked for by itself; everything else keeps its address.
        seen = {layer.address for layer in net.layers if not layer.operator.startswith("conv")} | {stop or ""}
        self.copy = fast(net, seen, in_place=False)
        self.nodes = list(self.copy.graph.graph.nodes)
        self.input = next(n for n, v in zip(_placeholders(self.nodes), self.copy.values, strict=True) if v is None)
        outputs: Any = self.nodes[-1].args[0]
        self.last: Node = outputs[self.copy.output_at]
        if stop is not None:
            self.last = self._node(stop)
        self.live = _depend(self.nodes, self.input)
        found, by_name = _norms(self.net), {n.name: n for n in self.nodes}
        self.norms = {by_name[last]: by_name[norm.source] for last, norm in found.items()}
        self.norm = {by_name[last]: norm for last, norm in found.items()}
        self.inside = {by_name[part] for norm in found.values() for part in norm.parts}
        with torch.inference_mode():
            self.values = self._clean(x.contiguous(memory_format=torch.channels_last))
        self.head = self._head()

    @property
    def clean(self) -> Tensor:
        """(1, K): the output, or the value of the layer at `stop`, without any change."""
        return run.first_tensor(self.values[self.last])

    # ---- questions --------------------------------------------------------------------------------------------------

    def covered(self, windows: Sequence[tuple[int, int, int, int]], filled: Tensor, batch: int = 32,
                progress: Progress | None = None, read: Callable[[Tensor], Tensor] = lambda value: value,
                shifts: Sequence[tuple[int, int]] | None = None) -> Tensor:
        """(N, …): for each window (y0, y1, x0, x1), the output where x shows `filled` (1, C, H, W) inside it.

        `batch`: changes computed together; memory grows with it. `progress(done, total, 'windows')` may raise to stop.
        `read`: what to keep of the values (P, …), so that maps of all changes never lie in memory together.
        `shifts`: how many pixels further up and left `filled` is read for each window, to paste what stands elsewhere.
        """
        x = self.values[self.input]
        edges = np.array(windows, np.int64).reshape(-1, 4)
        away = np.zeros((len(edges), 2), np.int64) if shifts is None else np.array(shifts, np.int64).reshape(-1, 2)
        height, width = x.shape[2:]
        found: list[Tensor] = []
        order: list[Any] = []
        done = 0
        with torch.inference_mode():
            for members in groups(edges[:, 0] + edges[:, 1], edges[:, 2] + edges[:, 3], (2 * height, 2 * width), batch):
                y0, y1, x0, x1 = edges[members].T
                region = Region(Span.of(y0, y1 - 1, height), Span.of(x0, x1 - 1, width))
                inside = _inside(region, edges[members])[:, None]
                before = rules.gather(x, None, region, 0.0)
                after = rules.gather(filled.to(x.dtype), None, region.moved(-away[members]), 0.0)
                value = self._upto_head({self.input: self._start(before, after, inside, region)}, len(members))
                found.append(value if self.head is not None else read(value))
                order.append(members)
                done += len(members)
                if progress is not None:
                    progress(done, len(edges), "windows")
            values = torch.cat(found)
            values = values if self.head is None else read(self._from_head(values))
            return values[np.argsort(np.concatenate(order))]

    def changed(self, image: Tensor) -> Tensor:
        """(1, …): the output for another image of the same size, recomputed only where it differs from x."""
        x = self.values[self.input]
        if image.shape != x.shape:
            raise ShapeError(f"a changed image of shape {tuple(image.shape)}", f"the clean one is {tuple(x.shape)}",
                             "give an image of the same size")
        differs = (image.to(x.dtype) != x).any(1)[0].nonzero()
        if not len(differs):
            return self.clean.clone()
        (y0, x0), (y1, x1) = differs.min(0).values.tolist(), (differs.max(0).values + 1).tolist()
        return self.covered([(y0, y1, x0, x1)], image)

    def ablated(self, layer: str, channels: Sequence[int], batch: int = 32, progress: Progress | None = None) -> Tensor:
        """(N, …): the output where one channel of a layer is set to zero, for each channel; earlier layers are not run."""
        node = self._node(layer)
        clean = run.first_tensor(self.values[node])
        axis = self.net[layer].unit_axis or 1
        found: list[Tensor] = []
        with torch.inference_mode():
            for start in range(0, len(channels), batch):
                some = list(channels[start : start + batch])
                value = clean.repeat(len(some), *(1,) * (clean.ndim - 1))
                for one, channel in zip(value, some, strict=True):
                    one.select(axis - 1, channel).zero_()
                found.append(self._upto_head({node: self._resumed(node, value)}, len(some)))
                if progress is not None:
                    progress(start + len(some), len(channels), "units")
            return self._from_head(torch.cat(found))

    def bound(self, windows: Sequence[tuple[int, int, int, int]]) -> float:
        """The share of a full pass's multiply-accumulates that can change, on average over windows: what must be done."""
        return self._reach(windows).share

    def takes_over(self, windows: Sequence[tuple[int, int, int, int]]) -> str:
        """The first layer from which on a window changes everything, '' where there is none."""
        node = self._reach(windows).whole_from
        return "" if node is None else next((k.address for k in self.net.layers if k.node == node.name), node.name)

    def batch_for(self, windows: Sequence[tuple[int, int, int, int]], memory: int) -> int:
        """How many changes fit into `memory` bytes at once (at least one); the clean pass and the weights not counted."""
        return max(1, int(memory // max(1, self._reach(windows).memory)))

    def _reach(self, windows: Sequence[tuple[int, int, int, int]]) -> Reach:
        edges = np.array(windows, np.int64).reshape(-1, 4)
        height, width = self.values[self.input].shape[2:]
        start = Region(Span.of(edges[:, 0], edges[:, 1] - 1, height), Span.of(edges[:, 2], edges[:, 3] - 1, width))
        macs = {layer.node: layer.macs for layer in self.net.layers}
        return reach(self.values, self.input, start, macs, {**dict.fromkeys(self.inside), **self.norms})

    # ---- one group of changes ---------------------------------------------------------------------------------------

    def _upto_head(self, changes: Mapping[Node, State], count: int) -> Tensor:
        """The value (P, …) of the node behind which there are no maps, or of the last node."""
        return self._run(changes, count, self.head or self.last)

    def _from_head(self, values: Tensor) -> Tensor:
        """What follows the head, for all changes at once."""
        if self.head is None or self.head is self.last:
            return values
        parts = values.split(HEAD)
        return torch.cat([self._run({self.head: self._resumed(self.head, part)}, len(part), self.last) for part in parts])

    def _run(self, changes: Mapping[Node, State], count: int, last: Node) -> Tensor:
        """Every node that a change reaches, up to `last`; states are dropped after their last use."""
        states: dict[Node, State] = dict(changes)
        sizes: dict[Node, int] = {}
        left = {node: len(node.users) for node in states}
        for node in self.nodes:
            if isinstance(self.values.get(node), int):
                sizes[node] = _size(node, self.values, sizes, count)
            elif node in self.inside:
                pass  # a part of a local response normalisation, which is run as one
            elif node in self.norms:
                before = states.get(self.norms[node])
                if before is not None:
                    states[node] = self._normed(node, before)
                    left[node] = len(node.users)
            elif node not in states and node.op == "call_function" and any(a in states for a in node.all_input_nodes):
                states[node] = self._again(node, states, sizes, count)
                left[node] = len(node.users)
            elif node.op == "call_function" and node.all_input_nodes and all(a in sizes for a in node.all_input_nodes):
                states[node] = self._again(node, states, sizes, count)  # zeros of the batch's size, say
                left[node] = len(node.users)
            if node is last:
                break
            for before in node.all_input_nodes:
                if before in left:
                    left[before] -= 1
                    if left[before] == 0 and before is not last:
                        states.pop(before, None)
        if last not in states:  # nothing that changed reaches it
            return run.first_tensor(self.values[last]).expand(count, *run.first_tensor(self.values[last]).shape[1:])
        return self._finished(last, states[last], count)

    # ---- what a state is: here the changed values themselves (`deltas` keeps differences) ------------------------------

    def _start(self, before: Tensor, after: Tensor, inside: Tensor, region: Region) -> State:
        """The image, changed where `inside`."""
        return State(torch.where(inside, after, before), region)

    def _resumed(self, node: Node, value: Tensor) -> State:
        """The state of a node whose changed value is known."""
        del node
        return State(value, None)

    def _again(self, node: Node, states: Mapping[Node, State], sizes: Mapping[Node, int], count: int) -> State:
        return again(node, self.values, states, sizes, count)

    def _normed(self, node: Node, before: State) -> State:
        return State(self.norm[node].of(before.patch), before.region)

    def _finished(self, node: Node, state: State, count: int) -> Tensor:
        """The changed value (P, …) of a node."""
        return rules.whole(run.first_tensor(self.values[node]), state, count)

    # ---- preparation ------------------------------------------------------------------------------------------------

    def _clean(self, x: Tensor) -> dict[Node, Any]:
        values: dict[Node, Any] = {}
        given = dict(zip(_placeholders(self.nodes), self.copy.values, strict=True))
        for node in self.nodes:
            if node.op == "placeholder":
                values[node] = x if given[node] is None else given[node]
            elif node.op == "call_function":
                args: Any = map_arg(node.args, values.__getitem__)
                kwargs: Any = map_arg(node.kwargs, values.__getitem__)
                view = layers.op_name(node) in ("view", "_unsafe_view")
                target: Any = torch.reshape if view else node.target  # what is channels-last cannot always be viewed
                values[node] = target(*args, **kwargs)
            if node is self.last:
                break
        return values

    def _head(self) -> Node | None:
        """The first value without a map that everything later goes through: what follows is run once for all changes."""
        alive: set[Node] = set()
        for at, node in enumerate(self.nodes):
            later = set(self.nodes[at + 1 :])
            if node in self.live:
                alive.add(node)
            alive = {n for n in alive if any(u in later for u in n.users)}
            value = self.values.get(node)
            if alive == {node} and isinstance(value, Tensor) and value.ndim == 2:
                return node
            if node is self.last:
                return None
        return None

    def _node(self, layer: str) -> Node:
        wanted = self.net[layer].node
        by_address = {k.address: name for name, k in self.copy.by_node.items()}
        found = next((n for n in self.nodes if n.name == by_address.get(layer, wanted)), None)
        if found is None or self.copy.by_node.get(found.name, self.net[layer]).address != layer:
            raise UsageError(f"{layer} cannot be changed by itself", "the batch norm behind it is folded into it",
                             "choose that batch norm, or the activation behind it")
        parts = [n for n in found.users if layers.op_name(n) == "getitem"]
        return parts[0] if parts else found


@dataclass(frozen=True)
class _Norm:
    """A local response normalisation, which a graph holds in parts: it reads channels, but each position by itself."""

    source: str
    parts: frozenset[str]
    operator: LocalResponseNorm

    def of(self, x: Tensor) -> Tensor:
        o = self.operator
        return F.local_response_norm(x, o.size, o.alpha, o.beta, o.k)


def _norms(net: Network) -> dict[str, _Norm]:
    """By the name of the node that gives the result."""
    reader = Reader(net)
    found: dict[str, _Norm] = {}
    for last, members in reader.groups.items():
        call = next((c for c in reader.calls if c.address and net[c.address].node == last), None)
        if call is not None and isinstance(call.operator, LocalResponseNorm):
            source = next(n.name for n, name in reader.names.items() if name == call.reads[0])
            found[last] = _Norm(source, frozenset(members - {last}), call.operator)
    return found


def _inside(region: Region, edges: Any) -> Tensor:
    """(P, rh, rw): which pixels of the rectangles lie in their windows."""
    y = region.y.start[:, None] + np.arange(region.y.size)
    x = region.x.start[:, None] + np.arange(region.x.size)
    rows = (y >= edges[:, :1]) & (y < edges[:, 1:2])
    columns = (x >= edges[:, 2:3]) & (x < edges[:, 3:])
    return torch.from_numpy(rows[:, :, None] & columns[:, None, :])


def _placeholders(nodes: list[Node]) -> list[Node]:
    return [n for n in nodes if n.op == "placeholder"]


def _depend(nodes: list[Node], source: Node) -> set[Node]:
    live = {source}
    for node in nodes:
        if any(a in live for a in node.all_input_nodes):
            live.add(node)
    return live


def _size(node: Node, values: Mapping[Node, Any], sizes: Mapping[Node, int], count: int) -> int:
    """A size of the graph for a batch of `count`."""
    if layers.op_name(node) == "sym_size":
        return count if node.args[1] == 0 else values[node]
    args: Any = map_arg(node.args, lambda n: sizes.get(n, values[n]))
    target: Any = node.target
    return target(*args)
