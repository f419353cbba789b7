"""One node of the graph, run again: by a rule on rectangles where there is one, else on whole maps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node
from torch.fx.node import map_arg

from convscope import layers
from convscope.incremental import rules
from convscope.incremental.regions import Region
from convscope.incremental.rules import FULL, State

_WINDOWS = {"conv2d": rules.conv, "max_pool2d": rules.max_pool, "avg_pool2d": rules.avg_pool,
            "max_pool2d_with_indices": rules.max_pool}
_COPIES = ("clone", "alias", "detach", "contiguous", "lift_fresh_copy", "dropout")
_BATCH_NORM = "_native_batch_norm_legit_no_training"


def again(
    node: Node, values: Mapping[Node, Any], states: Mapping[Node, State], sizes: Mapping[Node, int], count: int
) -> State:
    """The state of a node that reads something changed."""
    found = _on_rectangles(node, values, states)
    if found is not None:
        return found

    def of(n: Node) -> Any:
        if n in sizes:
            return sizes[n]
        if n in states:
            state = states[n]
            return state.patch if state.region is None else rules.whole(_first(values[n]), state, count)
        value = values[n]
        live = isinstance(value, Tensor) and n.op != "placeholder" and value.ndim > 0 and value.shape[0] == 1 and _varies(n)
        return value.expand(count, *value.shape[1:]) if live else value

    args: Any = map_arg(node.args, of)
    kwargs: Any = map_arg(node.kwargs, of)
    if layers.op_name(node) in ("view", "_unsafe_view"):
        return State(torch.reshape(args[0], args[1]), None)
    target: Any = node.target
    return State(target(*args, **kwargs), None)


def _on_rectangles(node: Node, values: Mapping[Node, Any], states: Mapping[Node, State]) -> State | None:
    """By a rule; None where there is none, or the change covers too much."""
    name = layers.op_name(node)
    args: Any = node.args
    first = args[0] if isinstance(args[0], Node) else None
    state = None if first is None else states.get(first)
    if name == "getitem":
        assert state is not None
        return state if state.region is not None else State(state.patch[args[1]], None)
    if name == "cat":
        return _cat(args[0], int(args[1]) if len(args) > 1 else 0, values, states)
    if any(s.region is None for n in node.all_input_nodes if (s := states.get(n)) is not None):
        return None
    if name in _WINDOWS and state is not None and first is not None:
        out = _first(values[node]).shape
        rest = [values[a] if isinstance(a, Node) else a for a in args[1:]]
        return _WINDOWS[name](values[first], state, tuple(out), *rest, **_rest(name, args))
    if name in _COPIES and state is not None:
        return state
    if state is not None and state.region is not None and len([n for n in node.all_input_nodes if n in states]) == 1:
        found = _alone(node, name, values, state)
        if found is not None:
            return found
    return _pointwise(node, values, states) if torch.Tag.pointwise in getattr(node.target, "tags", ()) else None


def _rest(name: str, args: Any) -> dict[str, Any]:
    """The arguments of a convolution that the graph leaves to their defaults."""
    if name != "conv2d":
        return {}
    defaults = {"bias": None, "stride": 1, "padding": 0, "dilation": 1, "groups": 1}
    return {k: v for i, (k, v) in enumerate(defaults.items()) if len(args) <= i + 2}


def _alone(node: Node, name: str, values: Mapping[Node, Any], state: State) -> State | None:
    """Operations on one map that treat every position by itself, though not number by number."""
    region, args = state.region, node.args
    assert region is not None
    rest: Any = tuple(map_arg(a, values.__getitem__) for a in args[1:])
    target: Any = node.target
    last = state.patch.ndim - 1
    if name == _BATCH_NORM and region.dims == (2, 3):
        return State(target(state.patch, *rest)[0], region)
    if name == "permute":
        order: list[int] = list(rest[0])
        dims = (order.index(region.dims[0]), order.index(region.dims[1]))
        if dims not in ((2, 3), (1, 2)):
            return None
        return State(state.patch.permute(order), Region(region.y, region.x, dims))
    if name == "linear" and last not in region.dims:
        return State(target(state.patch, *rest), region)
    if name == "layer_norm" and last not in region.dims and len(rest[0]) == 1:
        return State(target(state.patch, *rest), region)
    if name in ("softmax", "_softmax", "log_softmax", "_log_softmax") and rest[0] % (last + 1) not in (0, *region.dims):
        return State(target(state.patch, *rest), region)
    return None


def _cat(parts: Any, dim: int, values: Mapping[Node, Any], states: Mapping[Node, State]) -> State | None:
    """Maps side by side along the channels: each cut to the hull of all changes."""
    clean = [values[p] for p in parts]
    if clean[0].ndim != 4 or dim % 4 != 1:
        return None
    height, width = clean[0].shape[2:]
    merged = rules.merge(clean, [states.get(p) for p in parts], (height, width))
    return None if merged is None or merged[1].dims != (2, 3) else State(torch.cat(merged[0], 1), merged[1])


def _pointwise(node: Node, values: Mapping[Node, Any], states: Mapping[Node, State]) -> State | None:
    """Number by number: maps are cut to the hull of all changes; what is broadcast over the map is taken as it is."""
    regions = [r for n in node.all_input_nodes if n in states and (r := states[n].region) is not None]
    if not regions:
        return None
    dims, out = regions[0].dims, _first(values[node])
    size = (out.shape[dims[0]], out.shape[dims[1]]) if out.ndim == 4 else (0, 0)
    maps: list[Node] = []
    for n in node.all_input_nodes:
        value = values.get(n)
        if not isinstance(value, Tensor) or value.ndim == 0:
            continue
        lead = out.ndim - value.ndim
        spread = [value.shape[d - lead] if d >= lead else 1 for d in dims]
        if tuple(spread) == size and lead == 0 and value.shape[0] == 1:
            maps.append(n)
        elif spread != [1, 1] or n in states:
            return None  # a row of numbers along the map, or a changed number that every position reads
    if out.ndim != 4 or not maps:
        return None
    merged = rules.merge([values[n] for n in maps], [states.get(n) for n in maps], size)
    if merged is None:
        return None
    pieces = dict(zip(maps, merged[0], strict=True))
    given: Any = map_arg((node.args, dict(node.kwargs)), lambda n: pieces.get(n, values.get(n)))
    args, kwargs = given
    target: Any = node.target
    if target is torch.ops.aten.relu.default and len(maps[0].users) == 1 and states[maps[0]].region is merged[1]:
        return State(args[0].relu_(), merged[1])  # nobody reads the rectangles before the ReLU
    return State(target(*args, **kwargs), merged[1])


@dataclass(frozen=True)
class Reach:
    """How far changes get: what any exact method must do for them, and what they need."""

    share: float  # Σ MACs × (share of the map that can change) / Σ MACs
    whole_from: Node | None  # the first node that they change as a whole
    memory: int  # bytes that one change needs at once, at most: values still to be read, and crops


def reach(
    values: Mapping[Node, Any],
    source: Node,
    start: Region,
    macs: Mapping[str, int],
    one_by_one: Mapping[Node, Node | None],
) -> Reach:
    """How far do changes get that start as `start`?

    `one_by_one`: nodes that stand for a group which treats each position by itself, with what the group reads; None for the
    other nodes of such a group.
    """
    seen: dict[Node, Region | None] = {source: start}  # None: all of it
    alive = {source: _bytes(_first(values[source]), start)}
    total = needed = 0.0
    memory = 0
    for node in values:
        if node in one_by_one:
            reads = one_by_one[node]
            if reads is not None and reads in seen:
                seen[node], alive[node] = seen[reads], alive.get(reads, 0)
            continue
        if node.op != "call_function":
            continue
        changed = [n for n in node.all_input_nodes if n in seen]
        cost = macs.get(node.name, 0)
        total += cost
        if not changed or isinstance(values[node], int):
            continue
        out = _first(values[node])
        region = _reached(node, layers.op_name(node), [seen[n] for n in changed], out)
        seen[node], alive[node] = region, _bytes(out, region)
        needed += cost * (1.0 if region is None else region.tight() / _area(out, region))
        read = sum(alive.get(n, 0) for n in changed)
        memory = max(memory, sum(alive.values()) + 2 * max(read, alive[node]))  # the table of rows, and the crops from it
        for n in changed:
            if all(user in seen or user in one_by_one for user in n.users):
                alive.pop(n, None)
    whole_from = next((n for n, region in seen.items() if region is None), None)
    return Reach(needed / total if total else 1.0, whole_from, memory)


def _bytes(value: Tensor, region: Region | None) -> int:
    if region is None or value.ndim != 4:
        return value.numel() * value.element_size()
    return value.numel() // _area(value, region) * region.y.size * region.x.size * value.element_size()


def _area(out: Tensor, region: Region) -> int:
    return out.shape[region.dims[0]] * out.shape[region.dims[1]]


def _reached(node: Node, name: str, regions: list[Region | None], out: Tensor) -> Region | None:
    """Which rectangle of a node's value a change can reach; None: everything."""
    if any(r is None for r in regions) or out.ndim != 4:
        return None
    region = regions[0]
    assert region is not None
    for other in regions[1:]:
        assert other is not None
        region = region.hull(other, (out.shape[region.dims[0]], out.shape[region.dims[1]]))
    if name in _WINDOWS:
        args: Any = node.args
        at = {"conv2d": (3, 4, 5), "avg_pool2d": (2, 3, -1)}.get(name, (2, 3, 4))
        kernel = args[1].meta["val"].shape[2:] if name == "conv2d" else args[1]
        stride, padding, dilation = (args[i] if 0 < i < len(args) else d for i, d in zip(at, ((), 0, 1), strict=True))
        plain = stride if stride not in ((), []) else (1 if name == "conv2d" else kernel)
        if isinstance(padding, str):
            return None
        windows = rules.windows_of(kernel, plain, padding, dilation)
        return Region(region.y.through(windows[0], out.shape[2]), region.x.through(windows[1], out.shape[3]))
    if name == "permute":
        order: list[int] = list(node.args[1])  # type: ignore[arg-type]
        return Region(region.y, region.x, (order.index(region.dims[0]), order.index(region.dims[1])))
    keeps = name in (*_COPIES, "getitem", _BATCH_NORM, "cat", "linear", "layer_norm", "softmax", "_softmax")
    if keeps or torch.Tag.pointwise in getattr(node.target, "tags", ()):
        return region
    return None


def _varies(node: Node) -> bool:
    """Does this value depend on the image? (Its batch axis is the network's.)"""
    symbol = node.meta.get("val")
    return isinstance(symbol, torch.Tensor) and any(not isinstance(n, int) for n in symbol.shape[:1])


def _first(value: Any) -> Tensor:
    return value if isinstance(value, Tensor) else _first(value[0])


__all__ = ["FULL", "Reach", "again", "reach"]
