"""Is a score one linear function of the means of maps? Then, and only then, class activation mapping is exact.

    S = Σ_k w_k · (1/hw) Σ_ij A_k(i, j) + b

Between the mean and the score there may be at most one linear layer (or 1×1 convolution), flattening and dropout.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from convscope import layers
from convscope.network import Network, map_of
from convscope.results import Layer
from convscope.run import Target

KEEPING = frozenset({  # each passes on all values in their order
    "view", "_unsafe_view", "reshape", "flatten", "squeeze", "clone", "alias", "getitem", "contiguous", "_to_copy",
    "dropout",
})
MEANS = frozenset({"mean", "adaptive_avg_pool2d", "_adaptive_avg_pool2d", "avg_pool2d"})


@dataclass(frozen=True)
class Head:
    """The maps that are averaged, and what the score makes of their means."""

    layer: Layer
    weights: Tensor  # (U,) w of the target
    bias: float  # b of the target


def head(net: Network, target: Target) -> Head | str:
    """The head above the maps; or, in words, what else stands there."""
    own = net.output.node if target.unit is None else net[target.unit.layer].node
    node = next(n for n in net.program.graph.nodes if n.name == own)
    linear: Node | None = None
    above: list[str] = []
    while node.op == "call_function" and not _is_mean(net, node):
        name = layers.op_name(node)
        above.append(layers.shown_name(node))
        if linear is None and _is_linear(net, node):
            linear = node
        elif name not in KEEPING:
            return f"between the last mean over whole maps and the score stands {above[-1]}" if _mean_below(net, node) else (
                f"no layer takes the mean over whole maps: the score comes from {', '.join(reversed(above))}")
        node = node.args[0]  # type: ignore[assignment]
    if node.op != "call_function":
        return "the score comes straight from the image"
    if target.unit is not None and (target.unit.channel is None or target.unit.position is not None):
        return f"{target.label} is no single unit of a layer behind the mean"
    maps = _layer_of(net, node.args[0])
    if maps is None:
        return "the mean is taken over the image itself"
    index = target.index if target.unit is None else target.unit.channel
    assert index is not None
    if linear is None:
        return Head(maps, torch.eye(maps.output_shape[maps.unit_axis or 1], dtype=net.dtype, device=net.device)[index], 0.0)
    weight, bias = (net.tensors[a.name] if isinstance(a, Node) else None for a in (*linear.args, None)[1:3])
    assert weight is not None
    return Head(maps, weight.flatten(1)[index], 0.0 if bias is None else float(bias[index]))


def _is_linear(net: Network, node: Node) -> bool:
    """A linear layer, or a 1×1 convolution of a 1×1 map, with weights of its own."""
    name, arguments = layers.op_name(node), node.args
    if name not in ("linear", "conv2d") or not all(isinstance(a, Node) and a.name in net.tensors
                                                   for a in arguments[1:3] if a is not None):
        return False
    x, w = (layers.shape_of(a.meta["val"]) for a in arguments[:2])  # type: ignore[union-attr]
    if name == "linear":
        return len(x) == 2
    return x[2:] == w[2:] == (1, 1) and x[1] == w[1] and layers.shape_of(node.meta["val"])[2:] == (1, 1)


def _is_mean(net: Network, node: Node) -> bool:
    """Does this call average each map to one number?"""
    if layers.op_name(node) not in MEANS or not isinstance(node.args[0], Node):
        return False
    maps = _layer_of(net, node.args[0])
    size = None if maps is None else map_of(maps)
    if maps is None or size is None or len(size) != 2:
        return False
    settings: dict[str, Any] = layers.tensor_arguments(node)[1]
    if layers.op_name(node) == "mean":
        axes = {int(d) % 4 for d in settings.get("dim") or ()}
        return axes == {1, 2, 3} - {maps.unit_axis}
    out = layers.shape_of(node.meta["val"])
    padded = any(settings.get("padding") or ()) or settings.get("divisor_override") is not None
    whole = layers.op_name(node) != "avg_pool2d" or tuple(settings["kernel_size"]) == size
    return maps.unit_axis == 1 and out[2:] == (1, 1) and whole and not padded


def _mean_below(net: Network, node: Node) -> bool:
    seen: set[Node] = set()
    waiting = [node]
    while waiting:
        one = waiting.pop()
        if one.op == "call_function" and one not in seen:
            seen.add(one)
            if _is_mean(net, one):
                return True
            waiting += one.all_input_nodes
    return False


def _layer_of(net: Network, node: Any) -> Layer | None:
    """The layer whose value this is, through plumbing that keeps it."""
    by_node = {layer.node: layer for layer in net.layers}
    while isinstance(node, Node) and node.op == "call_function":
        if node.name in by_node:
            return by_node[node.name]
        node = node.args[0]
    return None
