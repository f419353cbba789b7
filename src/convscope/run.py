"""Run the graph: capture values, apply rules, take gradients. No hook is ever set on the user's module.

A *rule* replaces one kind of operation while the graph runs: `rules={"relu": f}` calls `f(call, *args, **kwargs)` for every
ReLU, where `call` is the operation itself. Plain autograd differentiates whatever the rules computed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.fx import Node

from convscope import layers
from convscope.addresses import Unit
from convscope.errors import UnknownName, UsageError, unknown
from convscope.results import Layer

if TYPE_CHECKING:
    from convscope.network import Network

Rule = Callable[..., Any]
UNCOUNTED = frozenset({"scaled_dot_product_attention", "einsum", "_scaled_dot_product_flash_attention_for_cpu"})


@dataclass(frozen=True)
class Values:
    """What a run gives: the output, and the kept layers' values by address."""

    output: Tensor
    kept: dict[str, Tensor]

    def __getitem__(self, address: str) -> Tensor:
        if address not in self.kept:
            raise unknown("kept layer", address, self.kept, "name it in keep=[…]")
        return self.kept[address]


class _Stop(Exception):
    """The last wanted layer has its value."""


class Runner(torch.fx.Interpreter):
    """Walks the graph once. Values are freed after their last use; `visit` sees each layer's value as it appears."""

    def __init__(
        self, net: Network, rules: Mapping[str, Rule], visit: Callable[[Layer, Tensor], None] | None, stop_after: int | None
    ) -> None:
        super().__init__(net.program.graph_module)
        self.rules, self.visit, self.stop_after = rules, visit, stop_after
        self.by_node = _layers_by_node(net)
        self.running = ""  # name of the node at work
        self.seen = 0

    def run_node(self, n: Node) -> Any:
        layer = self.by_node.get(n.name)
        self.running = n.name
        value = super().run_node(n)
        if layer is not None:
            if self.visit is not None:
                self.visit(layer, first_tensor(value))
            self.seen += 1
            if self.seen == self.stop_after:
                raise _Stop
        return value

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        if self.rules:
            schema = getattr(target, "_schema", None)
            rule = self.rules.get(schema.name.split("::")[-1]) if schema is not None else None
            if rule is not None:
                return rule(target, *args, **kwargs)
        return target(*args, **kwargs)


def _layers_by_node(net: Network) -> dict[str, Layer]:
    return {layer.node: layer for layer in net.layers}


def first_tensor(value: Any) -> Tensor:
    """A call's own value: of several outputs (LSTM, batch norm's statistics) the first."""
    return value if isinstance(value, Tensor) else first_tensor(value[0])


def run(
    net: Network,
    x: Tensor,
    *,
    keep: Iterable[str] = (),
    rules: Mapping[str, Rule] | None = None,
    visit: Callable[[Layer, Tensor], None] | None = None,
    grad: bool = False,
) -> Values:
    """Run `net` on `x` (B, C, H, W).

    `keep`: addresses whose values are wanted besides the output (`upto` stops at one layer). `rules`: operation ->
    replacement. `visit(layer, value)`: called for each layer in turn. `grad`: keep the autograd graph (parameters never
    get gradients; set `x.requires_grad_()` on your own copy).
    """
    wanted = [net[address].address for address in keep]
    kept: dict[str, Tensor] = {}

    def see(layer: Layer, value: Tensor) -> None:
        if layer.address in wanted:
            kept[layer.address] = value
        if visit is not None:
            visit(layer, value)

    runner = Runner(net, rules or {}, see, None)
    with torch.random.fork_rng(devices=[]), contextlib.nullcontext() if grad else torch.no_grad():
        output = runner.run(*arguments(net, x))
    return Values(first_tensor(output[net.output_at]), kept)


def upto(net: Network, x: Tensor, address: str, *, rules: Mapping[str, Rule] | None = None, grad: bool = False) -> Tensor:
    """The value of one layer; nothing after it is computed."""
    last = next(i for i, layer in enumerate(net.layers) if layer.address == net[address].address)
    found: list[Tensor] = []

    def see(layer: Layer, value: Tensor) -> None:
        if layer.address == address:
            found.append(value)

    runner = Runner(net, rules or {}, see, last + 1)
    with (
        torch.random.fork_rng(devices=[]),
        contextlib.nullcontext() if grad else torch.no_grad(),
        contextlib.suppress(_Stop),
    ):
        runner.run(*arguments(net, x))
    return found[0]


def arguments(net: Network, x: Tensor) -> list[Any]:
    """One value per placeholder: the network's own tensors, the image, and the example's values for any further input."""
    inputs = {node.name for node in net.inputs}
    values: list[Any] = []
    first = True
    for node in net.program.graph.nodes:
        if node.op != "placeholder":
            continue
        if node.name in net.tensors:
            values.append(net.tensors[node.name])
        elif node.name in inputs and first:
            values.append(x.contiguous())  # the graph was exported for one layout, and its views hold for no other
            first = False
        else:
            raise UsageError(
                f"{net.name} takes {len(net.inputs)} inputs", "one was given", "wrap it in a module that fixes the others"
            )
    return values


# ---- targets: what a question is about -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Target:
    """A score per image: a class of the output (before any softmax of ours), or a unit at a layer."""

    label: str
    index: int | None = None
    unit: Unit | None = None

    def score(self, net: Network, x: Tensor, *, rules: Mapping[str, Rule] | None = None, grad: bool = False) -> Tensor:
        """(B,): the target's value for each image."""
        if self.unit is None:
            return self.of(net, run(net, x, rules=rules, grad=grad).output)
        return self.of(net, upto(net, x, self.unit.layer, rules=rules, grad=grad))

    def of(self, net: Network, value: Tensor) -> Tensor:
        """(B,): the same, read from a value that is there: the network's output, or the unit's layer."""
        if self.unit is None:
            return value.flatten(1)[:, self.index]
        axis = net[self.unit.layer].unit_axis or 1
        if self.unit.channel is not None:
            value = value.select(axis, self.unit.channel)
        for position in self.unit.position or ():
            value = value.select(1, position)
        return value.flatten(1).mean(1) if value.ndim > 1 else value


def target(net: Network, asked: str | int | None, x: Tensor) -> Target:
    """What is asked about: a class index or name, a unit address, or None for the class that the first image scores highest.

    Names match whole, then as one of the comma-separated synonyms, then as a beginning; never by chance.
    """
    if asked is None:
        best = int(run(net, x[:1]).output.flatten(1)[0].argmax())
        return Target(class_name(net, best), best)
    text = str(asked).strip()
    count = int(torch.tensor(net.output.output_shape[1:]).prod())
    if text.removeprefix("-").isdecimal():
        index = int(text)
        if not 0 <= index < count:
            raise UnknownName(
                f"no class {index} in {net.name}",
                f"it has {count} outputs",
                f"use 0 … {count - 1}, a class name or a unit address",
            )
        return Target(class_name(net, index), index)
    lower = text.lower()
    names = [name.lower() for name in net.classes]
    for fits in (
        lambda n: n == lower,
        lambda n: lower in [part.strip() for part in n.split(",")],
        lambda n: n.startswith(lower),
    ):
        hits = [i for i, name in enumerate(names) if fits(name)]
        if len(hits) == 1:
            return Target(class_name(net, hits[0]), hits[0])
        if len(hits) > 1:
            shown = ", ".join(f"{i} {net.classes[i]}" for i in hits[:5])
            raise UsageError(f"{text!r} names {len(hits)} classes", shown, "use the index")
    if text.split("/")[0] in net:
        unit = net.unit(text)
        return Target(str(unit), unit=unit)
    raise unknown(
        "class or unit",
        text,
        (*net.classes, *(layer.address for layer in net.layers)),
        "classes go by index or name, units as layer/channel",
    )


def class_name(net: Network, index: int) -> str:
    """'281 tabby', or the bare index where the network has no names."""
    if index >= len(net.classes) or net.classes[index] == str(index):
        return str(index)
    return f"{index} {net.classes[index]}"


# ---- bytes kept for the backward pass ------------------------------------------------------------------------------------


def saved_bytes(net: Network) -> dict[str, int]:
    """Bytes that autograd keeps for the backward pass of one image, by the layer that keeps them; measured, not estimated.

    Every tensor that autograd saves is counted once per storage, at the first layer that keeps it. Parameters are not
    counted.
    """
    own = {tensor.untyped_storage().data_ptr() for tensor in net.tensors.values()}
    counted: set[int] = set()
    alive: list[Tensor] = []  # a freed storage could be given out again and be taken for a known one
    saved: dict[str, int] = {}
    x = torch.zeros((net.batch or 1, *net.input_shape[1:]), dtype=net.dtype, device=net.device)
    x = x.requires_grad_() if x.is_floating_point() else x
    runner = Runner(net, {}, None, None)
    belongs = _layer_of_node(net)

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own and storage.data_ptr() not in counted:
            counted.add(storage.data_ptr())
            alive.append(tensor)
            address = belongs.get(runner.running, net.layers[-1].address)
            saved[address] = saved.get(address, 0) + storage.nbytes() // (net.batch or 1)
        return tensor

    values = arguments(net, x)
    trained = set(net.parameter_names) - _buffer_names(net)
    values = [
        v.detach().requires_grad_() if n in trained and v.is_floating_point() else v
        for n, v in zip(_placeholders(net), values, strict=True)
    ]
    with torch.random.fork_rng(devices=[]), torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        output = runner.run(*values)
    del output
    return saved


def _layer_of_node(net: Network) -> dict[str, str]:
    """The layer that each node works for: its own, or the next one (the parts of a module that is shown as one layer)."""
    by_node, found, following = _layers_by_node(net), dict[str, str](), net.layers[-1].address
    for node in reversed(list(net.program.graph.nodes)):
        following = by_node[node.name].address if node.name in by_node else following
        found[node.name] = following
    return found


def _placeholders(net: Network) -> list[str]:
    return [n.name for n in net.program.graph.nodes if n.op == "placeholder"]


def _buffer_names(net: Network) -> set[str]:
    return set(net.program.graph_signature.inputs_to_buffers)


__all__ = ["Rule", "Runner", "Target", "Values", "class_name", "layers", "run", "saved_bytes", "target", "upto"]
