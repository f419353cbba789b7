"""The learned weights of a layer, units first, whatever way the module keeps them.

    convolution              (U, C/groups, k…)    as it is
    transposed convolution   (U, C/groups, k…)    from torch's (C, U/groups, k…)
    dense layer              (U, C)               as it is

A parametrised weight (weight norm, spectral norm) is no tensor of the state dict but computed in the graph on the way; it is
computed here in the same way, so that what is shown is what the network uses.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.fx import Node
from torch.fx.node import map_arg

from convscope import layers
from convscope.errors import UsageError, unknown
from convscope.network import Network
from convscope.results import Layer

_PLAIN = ("conv1d", "conv2d", "conv3d", "linear")
_TRANSPOSED = ("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
_PASSING = ("reshape", "flatten", "dropout")  # what may lie between the image and a dense layer
WEIGHTED = (*_PLAIN, *_TRANSPOSED)  # operators whose second tensor is a weight with one slice a unit


def weight(net: Network, layer: Layer) -> Tensor | None:
    """(U, …) detached weights of a layer; None where it has none, or where they depend on the image."""
    if layer.operator not in WEIGHTED:
        return None
    node = next(n for n in net.program.graph.nodes if n.name == layer.node)
    tensors, settings = layers.tensor_arguments(node)
    if tensors[1] is None or _reads(tensors[1], frozenset(n.name for n in net.inputs)):
        return None
    with torch.no_grad():
        found = _value(net, tensors[1])
    if layer.operator in _TRANSPOSED:
        groups = settings.get("groups", 1)
        inside = found.shape[0] // groups
        found = found.reshape(groups, inside, *found.shape[1:]).transpose(1, 2).flatten(0, 1)
    return found.detach()


def filters(net: Network, layer: Layer) -> tuple[NDArray[np.float64], bool]:
    """(U, C, h, w) weights of a layer as pictures, and whether they lie directly on the image.

    Errors: UnknownName for a layer without filters, UsageError for weights that are no picture.
    """
    found = weight(net, layer)
    if found is None:
        others = [one.address for one in net.layers if "conv" in one.operator and weight(net, one) is not None]
        raise unknown("layer with filters", layer.address, others, f"{layer.operator} has no weights of its own")
    array = found.double().cpu().numpy()
    first = on_image(net, layer)
    if layer.operator == "linear":
        shape = net.input_shape[1:]
        if not (first and len(shape) == 3 and array.shape[1] == np.prod(shape)):
            raise UsageError(f"{layer.address} is a dense layer on {array.shape[1]} numbers", "its weights are no picture",
                             "choose a convolution, or a dense layer that reads the image itself")
        return array.reshape(-1, *shape), True
    if array.ndim == 5:
        raise UsageError(f"the filters of {layer.address} have three axes", f"their shape is {array.shape[1:]}",
                         "choose a 2-D convolution")
    return array[:, :, None] if array.ndim == 3 else array, first


def on_image(net: Network, layer: Layer) -> bool:
    """Does this layer read the image itself?"""
    before = layer.parents
    while len(before) == 1 and before[0] != "input" and net[before[0]].operator in _PASSING:
        before = net[before[0]].parents
    return before == ("input",)


def norms(net: Network, layer: Layer) -> Tensor | None:
    """(U,) Euclidean length of each unit's weights ‖w_u‖₂ = √Σ w²; None where the layer has no weights."""
    found = weight(net, layer)
    return None if found is None else found.double().flatten(1).norm(dim=1)


def _reads(node: Node, inputs: frozenset[str]) -> bool:
    return node.name in inputs or any(_reads(before, inputs) for before in node.all_input_nodes)


def _value(net: Network, node: Node) -> Any:
    """The value of a node that does not depend on the image."""

    @functools.cache
    def of(node: Node) -> Any:
        if node.op == "placeholder":
            return net.tensors[node.name]
        target: Any = node.target
        return target(*map_arg(node.args, of), **map_arg(node.kwargs, of))

    return of(node)
