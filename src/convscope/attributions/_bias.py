"""What each node of a graph adds to a score beside its linear part: b = y − J·x, and its share Σ δ ⊙ b.

A node is y = f(x₁, …; parameters), with J its derivative at this input. Summed over all nodes, Σ δ ⊙ b and input × gradient
are the score: every value is passed on by J or comes from a b. Four ways to b, from the cheapest:

    homogeneous (ReLU, pooling, sums, views)    b = 0
    affine (convolution, linear, batch norm)    b = f(0)
    element by element                          b = y − Σ f'·x
    anything else                               b = y − J·x, J·x by differentiating Jᵀ·u with respect to u;
                                                without a map only the share is needed: Σ δ·y − Σ (Jᵀδ)·x
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node
from torch.fx.node import map_arg
from torch.utils import _pytree as pytree

from convscope import layers
from convscope.attributions import _forward, _layer
from convscope.network import Network
from convscope.run import Target

HOMOGENEOUS = frozenset({  # f(cx) = c·f(x) for c > 0, with J·x = f(x), whatever the settings
    "relu", "leaky_relu", "neg", "mean", "sum", "cat", "stack", "max_pool2d", "max_pool2d_with_indices", "avg_pool2d",
    "adaptive_max_pool2d", "adaptive_avg_pool2d", "view", "_unsafe_view", "reshape", "flatten", "squeeze", "unsqueeze",
    "permute", "transpose", "t", "expand", "clone", "alias", "contiguous", "_to_copy", "slice", "select", "split",
    "split_with_sizes", "unbind", "roll",
})
AFFINE = frozenset({"conv1d", "conv2d", "conv3d", "linear", "_native_batch_norm_legit_no_training"})
Flat = list[Tensor]


@dataclass(frozen=True)
class Term:
    """One node's share of the score, and where it arises."""

    node: str
    share: Tensor  # (B,) float64
    map: Tensor | None  # (B, U, h, w): δ ⊙ b; None where the node has no map


def total(value: Tensor, batch: int) -> Tensor:
    """(B,) float64: the sum over everything but the batch."""
    return value.detach().double().reshape(batch, -1).sum(1)


def keeps_images_apart(net: Network) -> bool:
    """Is the first axis of every value the batch? Windows of transformers are joined to it, sequences may come before it."""
    live: set[Node] = {net.inputs[0]}
    for node in net.program.graph.nodes:
        if node.op == "call_function" and layers.is_tensor(node) and any(a in live for a in node.all_input_nodes):
            live.add(node)
    return all(layers.shape_of(node.meta["val"])[:1] == (1,) for node in live)


def terms(ready: _forward.Forward, target: Target) -> Iterator[Term]:
    """Every node that adds something, in the order of the graph."""
    by_node = {layer.node: layer for layer in ready.net.layers}
    nodes = [n for n in ready.net.program.graph.nodes if n.op == "call_function" and layers.op_name(n) != "getitem"]
    nodes = [n for n in nodes if layers.op_name(n) not in HOMOGENEOUS and _live(ready.values[n.name])]
    outputs = [_live(ready.values[n.name]) for n in nodes]
    deltas = iter(ready.gradients(target, [y for some in outputs for y in some]))
    for node, ys in zip(nodes, outputs, strict=True):
        given = [next(deltas) for _ in ys]
        if not any(bool(d.any()) for d in given):
            continue
        layer = by_node.get(node.name)
        call = _replay(node, ready)
        mapped = layer is not None and layer.fields is not None and _layer.has_map(layer) and len(ys) == 1
        if not mapped and layers.op_name(node) not in AFFINE:
            yield Term(node.name, _share(call, given, len(ready.x)), None)
            continue
        made = given[0] * _beside(node, call, ys[0].detach())
        where = _layer.units_first(made, layer) if mapped and layer is not None else None
        yield Term(node.name, total(made, len(ready.x)), where)


def _live(value: Any) -> Flat:
    """The tensors of a node's value that depend on the image."""
    return [v for v in pytree.tree_leaves(value) if isinstance(v, Tensor) and v.requires_grad]


@dataclass(frozen=True)
class Call:
    """One node by itself: its inputs that depend on the image, and the function of them."""

    inputs: Flat
    run: Callable[[Flat], Flat]


def _replay(node: Node, ready: _forward.Forward) -> Call:
    """The node as a function of the inputs that depend on the image; everything else is a parameter."""
    given: list[Node] = [a for a in node.all_input_nodes if _live(ready.values.get(a.name))]
    flat = [v.detach() for a in given for v in _live(ready.values[a.name])]

    def run(inputs: Flat) -> Flat:
        rest = iter(inputs)
        own = {a: pytree.tree_map(lambda v: next(rest) if isinstance(v, Tensor) and v.requires_grad else v,
                                  ready.values[a.name]) for a in given}

        def value(a: Node) -> Any:
            return own[a] if a in own else ready.values[a.name]

        target: Any = node.target
        made = target(*map_arg(node.args, value), **map_arg(node.kwargs, value))
        return [v for v in pytree.tree_leaves(made) if isinstance(v, Tensor) and v.is_floating_point()]

    return Call(flat, run)


def _beside(node: Node, call: Call, y: Tensor) -> Tensor:
    """b = y − J·x, in the shape of y."""
    name = layers.op_name(node)
    with torch.inference_mode(False), torch.random.fork_rng(devices=[]):
        if name in AFFINE:
            with torch.no_grad():
                return call.run([torch.zeros_like(x) for x in call.inputs])[0]
        with torch.enable_grad():
            if torch.Tag.pointwise in getattr(node.target, "tags", ()):
                own = [x.expand(y.shape).clone().requires_grad_() for x in call.inputs]
                slopes = torch.autograd.grad(call.run(own)[0].sum(), own)
                return y - sum(g * x.detach() for g, x in zip(slopes, own, strict=True))
            own = [x.clone().requires_grad_() for x in call.inputs]
            u = torch.zeros_like(y).requires_grad_()
            back = torch.autograd.grad(call.run(own)[0], own, u, create_graph=True)
            along = torch.stack([(g * x.detach()).sum() for g, x in zip(back, own, strict=True)])
            (linear,) = torch.autograd.grad(along.sum(), u)
            return y - linear


def _share(call: Call, deltas: Flat, batch: int) -> Tensor:
    """Σ δ·y − Σ (Jᵀδ)·x over all of a node's outputs and inputs: (B,) float64."""
    with torch.inference_mode(False), torch.enable_grad(), torch.random.fork_rng(devices=[]):
        own = [x.clone().requires_grad_() for x in call.inputs]
        made = [v for v in call.run(own) if v.requires_grad]
        back = torch.autograd.grad(made, own, deltas, allow_unused=True)
    found = sum(total(d * y, batch) for d, y in zip(deltas, made, strict=True))
    for slope, x in zip(back, own, strict=True):
        found = found - (0 if slope is None else total(slope * x, batch))
    assert isinstance(found, Tensor)
    return found
