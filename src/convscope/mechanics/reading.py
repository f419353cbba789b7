"""From an exported graph to a glass-box network: each node that computes becomes a call of one of our operators.

Plumbing (copies, tuple access, constants) becomes names; a module that people know as one layer but that falls into many
operations (local response normalisation) becomes one call; whatever depends on parameters alone (weight norm) is computed
once. Where nobody speaks for an operation, `read` says which.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch.fx import Node

from convscope import layers, operators
from convscope.errors import UsageError
from convscope.glass import INPUT, Call, GlassBox
from convscope.network import Network
from convscope.operators import Operator
from convscope.operators.dropout import Dropout
from convscope.operators.local_response_norm import LocalResponseNorm
from convscope.operators.slice import Select
from convscope.operators.split import Split
from convscope.results import Layer

_COPIES = ("clone", "alias", "detach", "contiguous", "lift_fresh_copy", "_to_copy", "to")
_ZEROS = ("zeros", "new_zeros", "zeros_like")
_SEVERAL = ("lstm", "gru", "rnn_tanh", "rnn_relu")
_PIECES = ("split", "split_with_sizes", "chunk", "unbind")  # several results, each of them a slice


def glass_box(net: Network) -> GlassBox:
    """`net` as a glass-box network in float64. UsageError names the operations that nobody speaks for.

    Values go by layer address where the layer is one (the layer's output), else by the graph's own names.
    """
    reader = Reader(net)
    mute = [f"{name} ({where})" for name, where in reader.mute.items()]
    if mute:
        raise UsageError(
            f"{net.name} cannot become a glass box",
            f"no operator speaks for {', '.join(mute[:5])}",
            "single layers can still be looked at: convscope steps, convscope trace --backward",
        )
    arrays = {k: v.detach().cpu().double().numpy() if v.is_floating_point() else v.cpu().numpy()
              for k, v in reader.constants.items()}
    calls = tuple(c for c in reader.calls if c is not None)
    buffers = set(net.program.graph_signature.inputs_to_buffers.values())
    learned = frozenset(k for k in arrays if k in net.parameter_names.values() and k not in buffers)
    return GlassBox(net.name, calls, arrays, reader.name_of_output(), learned)


class Reader:
    """One pass over a graph. `calls` has the operator and the names that it reads for every node that computes."""

    def __init__(self, net: Network) -> None:
        self.net = net
        self.nodes = list(net.program.graph.nodes)
        self.by_node = {layer.node: layer for layer in net.layers}
        self.names: dict[Node, str] = {}  # the name of each node's value
        self.calls: list[Call] = []
        self.mute: dict[str, str] = {}  # operations without an operator: where they are
        self.constants: dict[str, torch.Tensor] = {}
        self._live: set[Node] = set()
        self.pieces: dict[Node, Operator] = {}  # operations of several results, each a piece of what they read
        self.groups = _groups(net)
        inside = {n for last, members in self.groups.items() for n in members if n != last}
        for node in self.nodes:
            if node.name not in inside:
                self._visit(node)

    def name_of_output(self) -> str:
        """The name of the value that the network returns."""
        return self.names[self.nodes[-1].args[0][self.net.output_at]]

    def readers(self, name: str) -> tuple[str, ...]:
        """The calls that read a value, by address where they have one."""
        return tuple(c.address or c.name for c in self.calls if name in c.reads)

    def _visit(self, node: Node) -> None:
        if node.op == "placeholder":
            self._placeholder(node)
        elif node.op == "call_function":
            if not layers.is_tensor(node):
                return  # a size, or a check of one
            if layers.op_name(node) in _ZEROS:
                return  # an initial state of the batch's size: our recurrent operators take None for zeros
            if not any(n in self._live for n in node.all_input_nodes) and node.name not in self.groups:
                self._constant(node)
                return
            self._live.add(node)
            self._call(node)

    def _placeholder(self, node: Node) -> None:
        if node.name in self.net.tensors:
            self.names[node] = self.net.parameter_names.get(node.name, node.name)
            self.constants[self.names[node]] = self.net.tensors[node.name]
        elif node.name in {n.name for n in self.net.inputs}:
            self.names[node] = INPUT
            self._live.add(node)

    def _constant(self, node: Node) -> None:
        """A value that does not depend on the input: computed now."""
        from torch.fx.node import map_arg

        def of(n: Node) -> Any:
            return self.constants[self.names[n]]

        target: Any = node.target
        with torch.no_grad():
            value = target(*map_arg(node.args, of), **map_arg(node.kwargs, of))
        self.names[node] = node.name
        self.constants[node.name] = value

    def _call(self, node: Node) -> None:
        name, layer = layers.op_name(node), self.by_node.get(node.name)
        here = layer.address if layer is not None else ""
        if node.name in self.groups:
            self._group(node, here)
            return
        source = node.all_input_nodes[0]
        if name in _COPIES and layer is not None:  # the copies that are layers are those of dropout modules
            self.names[node] = here
            self.calls.append(Call(here, Dropout(_share(self.net, layer), train=False), (self.names[source],), here))
            return
        if name in _COPIES:
            self.names[node] = self.names.get(source, source.name)
            return
        if name == "getitem":
            self._item(node, source, int(node.args[1]))  # type: ignore[arg-type]
            return
        reads, settings, shapes = self._arguments(node)
        operator = operators.read(name, settings, shapes)
        if operator is None and name == "unbind":
            operator = Select(settings.get("dim", 0), 0)
        if operator is None and _keeps_everything(node):
            self.names[node] = self.names[source]
            return
        if operator is None:
            self.mute.setdefault(name, here or node.name)
        elif name in _PIECES:
            self.pieces[node] = operator
            return
        self.names[node] = here or node.name
        if operator is not None:
            self.calls.append(Call(self.names[node], operator, reads, here))

    def _item(self, node: Node, source: Node, which: int) -> None:
        """One of several results: a piece of a split, a result of a recurrent layer; else (batch norm, pools) the first."""
        piece = self.pieces.get(source)
        self.names[node] = node.name
        if piece is not None:
            where = {"piece": which} if isinstance(piece, Split) else {"index": which}
            read = self.names[source.all_input_nodes[0]]
            self.calls.append(Call(node.name, dataclasses.replace(piece, **where), (read,)))  # type: ignore[arg-type]
        elif layers.op_name(source) in _SEVERAL:
            self.calls.append(Call(node.name, None, (self.names[source],), item=which))
        else:
            self.names[node] = self.names[source]

    def _group(self, node: Node, here: str) -> None:
        """Local response normalisation, read back from its parts: pad, avg_pool, mul, add, pow, div."""
        members = [n for n in self.nodes if n.name in self.groups[node.name]]
        found: dict[str, Any] = {layers.op_name(n): n for n in members}
        first = next(a for n in members for a in n.all_input_nodes if a in self._live and a not in members)
        self.names[node] = here
        if not {"pow", "div"} <= set(found):
            self.mute.setdefault(self.by_node[node.name].operator, here)
            return
        pool = next(n for n in members if "avg_pool" in layers.op_name(n))
        scale = next(n for n in members if layers.op_name(n) == "mul" and not isinstance(n.args[1], Node))
        size = max(_numbers(pool.args[1]))
        rest = (_numbers(n.args[1])[0] for n in (scale, found["pow"], found["add"]))
        operator = LocalResponseNorm(int(size), *rest)
        self._live.update(members)
        self.calls.append(Call(here, operator, (self.names[first],), here))

    def _arguments(self, node: Node) -> tuple[tuple[str | None, ...], dict[str, Any], tuple[tuple[int, ...], ...]]:
        """What a node reads in the order of its schema (None where an optional tensor is missing), settings, shapes."""
        _, settings = layers.tensor_arguments(node)
        reads: list[str | None] = []
        shapes: list[tuple[int, ...]] = []
        schema: Any = node.target._schema  # type: ignore[union-attr]
        for at, argument in enumerate(schema.arguments):
            if "Tensor" not in str(argument.type):
                continue
            value = node.args[at] if at < len(node.args) else node.kwargs.get(argument.name)
            for one in value if isinstance(value, (list, tuple)) else [value]:
                if isinstance(one, Node) and layers.op_name(one) not in _ZEROS:
                    reads.append(self.names.get(one, one.name))
                    shapes.append(layers.shape_of(one.meta["val"]))
                elif one is None or isinstance(one, Node):
                    reads.append(None)
        while reads and reads[-1] is None:
            reads.pop()
        return tuple(reads), {k: v for k, v in settings.items() if v is not None}, tuple(shapes)


def _numbers(argument: Any) -> tuple[float, ...]:
    return tuple(argument) if isinstance(argument, (list, tuple)) else (argument,)


def _share(net: Network, layer: Layer) -> float:
    """The share that a dropout module silences in training; 0 where the module is not at hand (a .pt2 file)."""
    found = None if net.module is None else net.module.get_submodule(layer.module.split("@")[0])
    return float(getattr(found, "p", 0.0))


def _keeps_everything(node: Node) -> bool:
    """x[:, :] slices, expands to its own size: shown as nothing, and nothing."""
    return layers.op_name(node) in ("slice", "expand") and layers.shape_of(node.meta["val"]) == layers.shape_of(
        node.all_input_nodes[0].meta["val"]
    )


def _groups(net: Network) -> dict[str, set[str]]:
    """Modules shown as one layer that are several nodes: name of the last -> names of all."""
    found: dict[str, set[str]] = {}
    whole = {layer.node: layer for layer in net.layers if layer.operator in ("local_response_norm", "rms_norm")}
    for layer in whole.values():
        members = {n.name for n in net.program.graph.nodes
                   if n.op == "call_function" and _path(n) == _path_of(net, layer.node)}
        if len(members) > 1:
            found[layer.node] = members
    return found


def _path(node: Node) -> str:
    stack = node.meta.get("nn_module_stack") or {}
    return list(stack)[-1] if stack else ""


def _path_of(net: Network, name: str) -> str:
    return _path(next(n for n in net.program.graph.nodes if n.name == name))


__all__ = ["Reader", "glass_box"]
