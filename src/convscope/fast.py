"""A private copy of a network that runs faster and answers the same: channels-last weights, batch norm folded into its
convolution.

Folding (Jacob et al. 2018): w' = w·γ/√(σ² + ε), b' = (b − μ)·γ/√(σ² + ε) + β. It is done only where the convolution feeds
nothing but the batch norm *and* nobody asked to see the convolution's own output. Equal to the original up to rounding.

Batch norms that stay, ReLUs and sums write over what they read where nothing else reads it: a fresh map of a hundred
megabytes costs ten times the arithmetic. So a visitor must take from a value what it wants before it returns.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule, Node

from convscope import layers, run
from convscope.network import Network
from convscope.results import Layer


@dataclass(frozen=True)
class Fast:
    """The copy. `run` visits the layers that were asked for, under their own addresses."""

    graph: GraphModule
    values: list[Any]  # one per placeholder; the image's place holds None
    by_node: dict[str, Layer]
    output_at: int  # which output is the network's answer
    folded: int  # how many batch norms went into their convolutions

    def run(self, x: Tensor, visit: Callable[[Layer, Tensor], None] | None = None) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x
        runner = _Runner(self.graph, self.by_node, visit)
        with torch.inference_mode():
            return run.first_tensor(runner.run(*[x if v is None else v for v in self.values])[self.output_at])


class _Runner(torch.fx.Interpreter):
    def __init__(self, graph: GraphModule, by_node: dict[str, Layer], visit: Callable[[Layer, Tensor], None] | None) -> None:
        super().__init__(graph)
        self.by_node, self.visit = by_node, visit

    def run_node(self, n: Node) -> Any:
        value = super().run_node(n)
        if self.visit is not None and n.name in self.by_node:
            self.visit(self.by_node[n.name], run.first_tensor(value))
        return value

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        if target in _VIEWS:  # a channels-last tensor cannot always be viewed; reshape gives the same numbers
            return torch.reshape(args[0], args[1])
        return target(*args, **kwargs)


_VIEWS = (torch.ops.aten.view.default, torch.ops.aten._unsafe_view.default)


def fast(net: Network, measured: Collection[str], in_place: bool = True) -> Fast:
    """A fast copy of `net` on which every layer in `measured` can still be seen; without `in_place`, every value stays."""
    copy = _Copy(net, measured)
    folded = copy.fold()
    if in_place:
        for node in list(copy.graph.nodes):
            _norm_in_place(node, copy.tensors, copy.by_node)
        for node in list(copy.graph.nodes):
            _in_place(node)
    return Fast(copy.module(), copy.values(), copy.by_node, net.output_at, folded)


def cut(net: Network, wanted: Sequence[str]) -> tuple[GraphModule, list[Any]]:
    """A fast copy that ends at the layers in `wanted` and gives their values, in their order; autograd can go through it.

    Also the values of its placeholders, None for the image's.
    """
    copy = _Copy(net, wanted)
    by_address = {layer.address: name for name, layer in copy.by_node.items()}
    nodes = {node.name: node for node in copy.graph.nodes}
    outputs: list[Node] = []
    for address in wanted:
        node = nodes[by_address[address]]
        if isinstance(node.meta.get("val"), (tuple, list)):  # batch norm, LSTM: its first entry is the layer's value
            with copy.graph.inserting_after(node):
                node = copy.graph.call_function(operator.getitem, (node, 0))
        outputs.append(node)
    last = next(iter(reversed(copy.graph.nodes)))
    last.args = (tuple(outputs),)
    copy.graph.eliminate_dead_code()
    copy.fold()
    for node in list(copy.graph.nodes):
        _in_place(node)  # batch norms are left: what they write over, autograd could not follow
        if node.op == "call_function" and node.target in _VIEWS:
            node.target = torch.reshape
    return copy.module(), copy.values()


class _Copy:
    """A copy of the graph and its tensors, to be changed."""

    def __init__(self, net: Network, seen: Collection[str]) -> None:
        old = net.program.graph_module.graph
        self.graph, twin = Graph(), dict[Node, Node]()  # a copied node may get another name: `twin` says which is which
        self.graph.output(self.graph.graph_copy(old, twin))
        names = {before.name: after.name for before, after in twin.items()}
        self.tensors = {names[k]: _channels_last(v) for k, v in net.tensors.items()}
        self.by_node = {names[layer.node]: layer for layer in net.layers if layer.address in seen}
        self.inputs = {names[node.name] for node in net.inputs}

    def fold(self) -> int:
        """Fold what can be folded; how many batch norms that were."""
        return sum(_fold(node, self.tensors, self.by_node) for node in list(self.graph.nodes))

    def module(self) -> GraphModule:
        self.graph.eliminate_dead_code()
        return GraphModule(torch.nn.Module(), self.graph)

    def values(self) -> list[Any]:
        """One per placeholder; None for the image."""
        names = [node.name for node in self.graph.nodes if node.op == "placeholder"]
        return [None if name in self.inputs else self.tensors[name] for name in names]


# Operations that make a tensor of their own. What they made may be written over by its only reader.
_FRESH = frozenset({"conv1d", "conv2d", "conv3d", "add", "add_", "cat", "linear", "max_pool2d", "avg_pool2d", "affine_"})
_IN_PLACE: dict[Any, Any] = {
    torch.ops.aten.relu.default: torch.ops.aten.relu_.default,
    torch.ops.aten.add.Tensor: torch.ops.aten.add_.Tensor,
}


def affine_(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """x ← x·scale + shift."""
    return torch.addcmul(shift, x, scale, out=x)


def _writable(value: Any) -> bool:
    """Nobody but the one who reads it now will ever read it again."""
    return isinstance(value, Node) and len(value.users) == 1 and layers.op_name(value) in _FRESH


def _in_place(node: Node) -> None:
    """Write a ReLU or a sum over its first argument: most of their cost is the memory that a new map needs."""
    if node.op != "call_function" or node.target not in _IN_PLACE or not _writable(node.args[0]) or node.kwargs:
        return
    shapes = [layers.shape_of(a.meta["val"]) for a in node.args if isinstance(a, Node) and "val" in a.meta]
    if len(shapes) == len(node.args) and all(shape == shapes[0] for shape in shapes):
        node.target = _IN_PLACE[node.target]


def _norm_in_place(norm: Node, tensors: dict[str, Tensor], by_node: dict[str, Layer]) -> None:
    """A batch norm whose convolution must stay as it is: y = x·s + t, written over the convolution's maps."""
    if norm.op != "call_function" or layers.op_name(norm) != "_native_batch_norm_legit_no_training":
        return
    arguments: tuple[Any, ...] = norm.args
    x, gamma, beta, mean, variance = arguments[:5]
    known = all(isinstance(p, Node) and p.name in tensors for p in (gamma, beta, mean, variance))
    if not known or not _writable(x) or len(gamma.users) != 1 or len(beta.users) != 1:
        return
    outer = [1] * (len(layers.shape_of(x.meta["val"])) - 2)
    scale = tensors[gamma.name] / torch.sqrt(tensors[variance.name] + arguments[6])
    tensors[beta.name] = (tensors[beta.name] - tensors[mean.name] * scale).reshape(-1, *outer)
    tensors[gamma.name] = scale.reshape(-1, *outer)
    with norm.graph.inserting_before(norm):
        made = norm.graph.call_function(affine_, (x, gamma, beta))
    made.meta["val"] = x.meta["val"]
    if norm.name in by_node:
        by_node[made.name] = by_node.pop(norm.name)
    for user in list(norm.users):
        user.replace_all_uses_with(made)
        norm.graph.erase_node(user)
    norm.graph.erase_node(norm)


def _channels_last(tensor: Tensor) -> Tensor:
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor


def _fold(norm: Node, tensors: dict[str, Tensor], by_node: dict[str, Layer]) -> bool:
    """Fold one batch norm into the convolution before it, if that changes nothing that anybody sees."""
    if norm.op != "call_function" or layers.op_name(norm) != "_native_batch_norm_legit_no_training":
        return False
    arguments: tuple[Any, ...] = norm.args
    parts, epsilon = arguments[:5], arguments[6]
    conv, beta = arguments[0], arguments[2]
    if not all(isinstance(p, Node) for p in parts) or layers.op_name(conv) not in ("conv1d", "conv2d", "conv3d"):
        return False
    weight: Any = conv.args[1]
    bias: Any = conv.args[2] if len(conv.args) > 2 else None
    alone = len(conv.users) == 1 and isinstance(weight, Node) and len(weight.users) == 1 and len(beta.users) == 1
    if (
        not alone
        or conv.name in by_node
        or weight.name not in tensors
        or (isinstance(bias, Node) and bias.name not in tensors)
    ):
        return False
    names = {k: p.name for k, p in zip(("gamma", "beta", "mean", "variance"), parts[1:], strict=True)}
    scale = tensors[names["gamma"]] / torch.sqrt(tensors[names["variance"]] + epsilon)
    w = tensors[weight.name]
    b = tensors[bias.name] if isinstance(bias, Node) else torch.zeros_like(tensors[names["mean"]])
    tensors[weight.name] = _channels_last(w * scale.reshape(-1, *[1] * (w.ndim - 1)))
    tensors[names["beta"]] = (b - tensors[names["mean"]]) * scale + tensors[names["beta"]]
    conv.args = (conv.args[0], weight, beta, *conv.args[3:])
    if norm.name in by_node:
        by_node[conv.name] = by_node.pop(norm.name)
    for user in list(norm.users):  # the tuple's first entry is the normalised map
        user.replace_all_uses_with(conv)
        user.graph.erase_node(user)
    norm.graph.erase_node(norm)
    return True
