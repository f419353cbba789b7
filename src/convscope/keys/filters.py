"""The key on the filters: which network reads keyed images as another reads plain ones?

    y = K·x,  W' = K·W  ⟹  ⟨W'_u, y⟩ = ⟨K·W_u, K·x⟩ = ⟨W_u, x⟩              K orthogonal; for one block W' = W·Qᵀ

Exact where no window cuts through a block: stride = kernel, a multiple of the block, no padding, no dilation, one group;
or a dense layer on the whole image. A shuffle of blocks moves what the windows see, so only a dense layer undoes it.
Elsewhere nothing exact exists; the network has to be trained on keyed images.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convscope import layers
from convscope.errors import UsageError
from convscope.keys.key import Key
from convscope.network import Network
from convscope.results import Layer

PASSING = ("reshape", "flatten", "view", "dropout")  # what may lie between the image and a dense layer
LEARN = "train a network on keyed images instead: `convscope key accuracy` says what that costs"


@dataclass(frozen=True)
class First:
    """The layer that reads the image, and where its weight is kept."""

    layer: Layer
    parameter: str  # name in the module's state dict
    weight: NDArray[np.floating]  # (U, C, kh, kw), for a dense layer (U, C, H, W)


def first_layer(net: Network, key: Key) -> First:
    """The layer whose filters the key goes on. Errors: UsageError that says why it cannot be exact."""
    readers = [one for one in net.layers if one.operator not in PASSING and _reads_image(net, one)]
    if len(readers) != 1 or readers[0].operator not in ("conv2d", "linear"):
        found = ", ".join(f"{one.address} ({one.operator})" for one in readers) or "none"
        raise UsageError(f"the key must go on the one layer of {net.name} that reads the image", f"there is {found}",
                         "it must be a convolution or a dense layer; " + LEARN)
    layer = readers[0]
    nodes = {node.name: node for node in net.program.graph.nodes}
    tensor = layers.tensor_arguments(nodes[layer.node])[0][1]
    while tensor is not None and tensor.op != "placeholder" and len(tensor.all_input_nodes) == 1:
        tensor = tensor.all_input_nodes[0]  # a view or a transpose of the parameter
    name = "" if tensor is None else net.parameter_names.get(tensor.name, "")
    if tensor is None or not name:
        raise UsageError(f"the weight of {layer.address} is computed, not kept", "a parametrised weight",
                         "remove the parametrisation first (torch.nn.utils.parametrize.remove_parametrizations)")
    twice = [one.address for one in net.layers if one is not layer
             and any(_reads(p, tensor) for p in nodes[one.node].all_input_nodes)]
    if twice:
        raise UsageError(f"the weight of {layer.address} is also that of {', '.join(twice)}",
                         "keyed for one it would be wrong for the other", LEARN)
    _check(net, layer, key)
    weight = net.tensors[tensor.name].detach().cpu().numpy()
    shape = net.input_shape[1:]
    return First(layer, name, weight.reshape(-1, *shape) if layer.operator == "linear" else weight)


def keyed_weight(first: First, key: Key) -> NDArray[np.floating]:
    """K·W: the weight of the same shape as `first.weight` that reads images keyed with `key`."""
    return key(first.weight)


def _reads_image(net: Network, layer: Layer) -> bool:
    return any(p == "input" or (net[p].operator in PASSING and _reads_image(net, net[p])) for p in layer.parents)


def _reads(node: object, tensor: object) -> bool:
    view = getattr(node, "op", "") != "placeholder" and getattr(node, "all_input_nodes", None) == [tensor]
    return node is tensor or view


def _check(net: Network, layer: Layer, key: Key) -> None:
    shape = net.input_shape[1:]
    if len(shape) != 3 or shape[0] != key.channels or (key.size is not None and tuple(shape[1:]) != key.size):
        wanted = f"{key.channels} channels" + (f" of {key.size[0]}×{key.size[1]}" if key.size else "")
        raise UsageError(f"the key is for {wanted}", f"{net.name} reads {'×'.join(map(str, shape))}", "make a key for it")
    if any(n % key.block for n in shape[1:]):
        raise UsageError(f"blocks of {key.block} do not tile the {shape[1]}×{shape[2]} pixels of {net.name}",
                         f"{shape[1] % key.block} rows and {shape[2] % key.block} columns are left over",
                         "make a key with another block")
    if layer.operator == "linear":
        if layer.input_shapes[0][1:] == (int(np.prod(shape)),):
            return  # one window: the image
        raise UsageError(f"{layer.address} reads rows of the image", f"its input is {layer.input_shapes[0]}", LEARN)
    if key.kind == "shuffle":
        raise UsageError(f"a shuffle moves the blocks that {layer.address} sees",
                         "its filters would have to be elsewhere, not otherwise", "use an orthogonal key; or " + LEARN)
    said = layer.settings
    kernel, stride = tuple(said["kernel_size"]), tuple(said["stride"])
    wrong = [text for text, bad in (
        (f"kernel {kernel} with stride {stride}: its windows overlap or leave gaps", kernel != stride),
        (f"kernel {kernel} is no multiple of the block {key.block}", any(k % key.block for k in kernel)),
        (f"padding {said.get('padding')}", any(np.atleast_1d(said.get("padding", 0)) != 0)),
        (f"dilation {said.get('dilation')}", any(np.atleast_1d(said.get("dilation", 1)) != 1)),
        (f"{said.get('groups')} groups", said.get("groups", 1) != 1)) if bad]
    if wrong:
        raise UsageError(f"no filter of {layer.address} reads keyed images exactly", "; ".join(wrong),
                         "exact are windows that cut no block: kernel = stride = block, no padding, one group; " + LEARN)
