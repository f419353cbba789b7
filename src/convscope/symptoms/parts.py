"""Which layers has the user's network? Names and sizes alone, from an opened `Network` or from a bare module.

A program that fails cannot be exported, so a module is read as it stands: its submodules and the shapes of their weights.
Nothing is run and nothing is written.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from convscope.errors import UsageError

DENSE, CONVOLUTION, NORM, POOL = "dense", "convolution", "norm", "pool"
EMBEDDING, RECURRENT, JOIN, OTHER = "embedding", "recurrent", "join", "other"
# The first word that a class or an operation contains says what it is; so the longer ones stand first.
_FAMILIES = (("embedding", EMBEDDING), ("norm", NORM), ("conv", CONVOLUTION), ("pool", POOL), ("lstm", RECURRENT),
             ("gru", RECURRENT), ("rnn", RECURRENT), ("linear", DENSE), ("dense", DENSE), ("addmm", DENSE),
             ("concat", JOIN), ("add", JOIN), ("mul", JOIN), ("sub", JOIN))


@dataclass(frozen=True)
class Part:
    """One layer: its name, its family, the features or channels that it reads and makes."""

    name: str
    family: str
    weight: tuple[int, ...] = ()
    inputs: int | None = None
    outputs: int | None = None
    output_shape: tuple[int, ...] = ()  # of one example, with B = 1; empty: unknown
    source: str = ""


def family_of(kind: str) -> str:
    """'dense' for Linear, 'convolution' for conv2d, 'other' for what has no family here."""
    lowered = kind.lower()
    return next((family for word, family in _FAMILIES if word in lowered), OTHER)


def parts_of(net: Any) -> tuple[Part, ...]:
    """The layers of a `Network` in the order in which they run, or of a module in the order in which they were written.

    >>> parts_of(None)
    ()
    """
    if net is None:
        return ()
    if hasattr(net, "program") and hasattr(net, "layers"):
        return tuple(_of_network(net))
    if hasattr(net, "named_modules"):
        return tuple(_of_module(net))
    raise UsageError(f"{type(net).__name__} is no network", "neither a Network nor a torch module",
                     "give the module itself, or what `convscope.open` made of it")


def _of_network(net: Any) -> Iterator[Part]:
    nodes = {node.name: node for node in net.program.graph.nodes}
    for layer in net.layers:
        read = [net.tensors[a.name] for a in nodes[layer.node].all_input_nodes if a.name in net.tensors]
        weight = tuple(read[0].shape) if read else ()
        family = family_of(layer.operator)
        inputs, outputs = _widths(family, weight, int(layer.settings.get("groups", 1) or 1), "transpose" in layer.operator)
        yield Part(layer.address, family, weight, inputs, outputs, layer.output_shape, layer.source)


def _of_module(module: Any) -> Iterator[Part]:
    for name, one in module.named_modules():
        if any(True for _ in one.children()):
            continue
        kind = type(one).__name__
        family = family_of(kind)
        weight = getattr(one, "weight", None)
        if hasattr(one, "has_uninitialized_params") and one.has_uninitialized_params():
            weight = None  # a lazy layer knows its shape after the first batch
        shape = () if weight is None else tuple(weight.shape)
        if family == RECURRENT and hasattr(one, "input_size"):
            yield Part(name or kind, family, (), int(one.input_size), int(one.hidden_size))
            continue
        inputs, outputs = _widths(family, shape, int(getattr(one, "groups", 1)), "transpose" in kind.lower())
        yield Part(name or kind, family, shape, inputs, outputs)


def _widths(family: str, weight: tuple[int, ...], groups: int, transposed: bool) -> tuple[int | None, int | None]:
    """(inputs, outputs) of a weight: (K, C) of a dense layer, (C', C / groups, h, w) of a convolution."""
    if family == NORM and weight:
        return weight[0], weight[0]
    if len(weight) < 2:
        return None, None
    if family == EMBEDDING:
        return weight[0], weight[1]
    if family == CONVOLUTION and transposed:
        return weight[0], weight[1] * groups
    return (weight[1] * groups, weight[0]) if family in (DENSE, CONVOLUTION) else (None, None)
