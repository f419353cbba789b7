"""Which sizes does the backward pass have, layer by layer, and how does it get each gradient?

Every layer receives δ = ∂L/∂y, of the shape of its output y, and gives the gradient of each array that it read, of the
shape of that array. How, and with which sizes on the way, the operators say (`Operator.gradients`); here they are asked for
the shapes of a graph, for one image.

    multiply-accumulates backward = those of ∂L/∂(what it read) + those of ∂L/∂(its parameters)

Source: Rumelhart, Hinton, Williams 1986, "Learning representations by back-propagating errors"; convolutions after Dumoulin
and Visin 2016, "A guide to convolution arithmetic for deep learning".
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from convscope import layers
from convscope.glass import INPUT, Call
from convscope.mechanics.reading import Reader
from convscope.network import Network
from convscope.results import Gradient, Layer

Shape = tuple[int, ...]


def backward_of(net: Network, found: Iterable[Layer] | None = None) -> tuple[Layer, ...]:
    """How does every layer get its gradients? The layers of `net` with `backward` filled in.

    `found`: these layers instead of `net.layers` (measured ones, say). Shapes have B = 1. A layer whose operation nobody
    speaks for keeps `backward = None`; `notes` says which. Misleads: it is the inference graph's backward pass (batch norm
    with fixed statistics, no dropout), and it counts the gradient of the image too, which training does not need.

    >>> import convscope as cs
    >>> conv = backward_of(cs.open("zoo:lenet5"))[0]
    >>> [(g.of, g.shape, g.macs) for g in conv.backward][1]
    ('weight', (6, 1, 5, 5), 117600)
    """
    reader = Reader(net)
    shapes = shapes_of(reader)
    calls = {call.address: call for call in reader.calls if call.address}
    pieces = _split(reader)
    made: list[Layer] = []
    for layer in net.layers if found is None else found:
        call = calls.get(layer.address)
        backward = pieces.get(layer.node) if call is None else gradients_of(call, shapes)
        made.append(dataclasses.replace(layer, backward=backward))
    return tuple(made)


def gradients_of(call: Call, shapes: dict[str, Shape]) -> tuple[Gradient, ...]:
    """The gradients of one call, from the shapes of all values by name."""
    assert call.operator is not None
    return call.operator.gradients(*(None if name is None else shapes[name] for name in call.reads))


def shapes_of(reader: Reader) -> dict[str, Shape]:
    """The shape of every named value for one image; of several results (an LSTM's), that of the first."""
    found: dict[str, Shape] = {}
    for node, name in reader.names.items():
        found.setdefault(name, layers.shape_of(node.meta["val"]))
    for name, value in reader.constants.items():
        found.setdefault(name, tuple(value.shape))
    return found


def notes(found: Iterable[Layer]) -> tuple[str, ...]:
    """What the backward pass of these layers leaves unsaid, and what training spares of it."""
    given = tuple(found)
    mute = sorted({layer.operator for layer in given if layer.backward is None})
    said = [f"backward pass not shown for: {', '.join(mute)}"] if mute else []
    first = [layer for layer in given if layer.parents == (INPUT,) and layer.backward]
    spared = sum(layer.backward[0].macs for layer in first if layer.backward)
    if spared:
        names = ", ".join(layer.address for layer in first)
        said.append(f"∂L/∂x of {names} is the gradient of the image: training does not need it and spares {spared:,} MACs")
    if any(layer.operator == "batch_norm" for layer in given):
        said.append("batch norm with fixed statistics, as in the graph; in training mean and variance have gradients too")
    return tuple(said)


def _split(reader: Reader) -> dict[str, tuple[Gradient, ...]]:
    """The layers that hand out pieces of what they read, by the name of their node: each piece is a call of its own."""
    how = "the δ of every piece, put back where the piece was taken"
    return {node.name: (Gradient("x", layers.shape_of(node.all_input_nodes[0].meta["val"]), how),) for node in reader.pieces}
