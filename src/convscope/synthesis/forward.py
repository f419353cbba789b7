"""The part of a network that an optimisation runs: as far as the wanted layers, frozen, batch norm folded.

    values = Cut(net, ["layer2.0.conv1"])(x)["layer2.0.conv1"]        x (B, C, H, W); autograd reaches x, nothing else

Before the first operation that fixes a size, a convolutional network takes an image of any size. What one position of a
map sees is then a whole picture: `canvas` gives its size, and running on it is exact (no padding is within its field).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule

from convscope import layers
from convscope.errors import ShapeError
from convscope.fast import cut
from convscope.network import Network, map_of
from convscope.results import Layer

# Operations whose arguments name neither a height nor a width: what holds for one canvas holds for all.
ANY_SIZE = frozenset((
    "conv1d", "conv2d", "conv3d", "constant_pad_nd", "reflection_pad2d", "replication_pad2d",
    "max_pool2d", "max_pool2d_with_indices", "avg_pool2d", "mean", "_native_batch_norm_legit_no_training",
    "relu", "relu_", "relu6", "leaky_relu", "elu", "gelu", "silu", "mish", "softplus", "sigmoid", "tanh", "hardtanh",
    "hardswish", "hardsigmoid", "prelu", "_prelu_kernel", "selu", "celu", "clamp", "clamp_min",
    "add", "add_", "sub", "mul", "div", "neg", "exp", "sqrt", "rsqrt", "pow", "cat",
    "clone", "alias", "dropout", "getitem", "sym_size", "squeeze", "unsqueeze",
))  # fmt: skip


class Cut:
    """A network as far as some layers, differentiable in its input."""

    def __init__(self, net: Network, addresses: Sequence[str]) -> None:
        self.net = net
        self.addresses = tuple(dict.fromkeys(net[address].address for address in addresses))
        self.graph, self.values = cut(net, self.addresses)
        calls = [node for node in self.graph.graph.nodes if node.op == "call_function"]
        self.fixed = next((node for node in calls if layers.op_name(node) not in ANY_SIZE), None)

    @property
    def any_size(self) -> bool:
        """May the canvas differ from the network's input size?"""
        return self.fixed is None and len(self.net.input_shape) == 4

    def __call__(self, x: Tensor, graph: GraphModule | None = None) -> dict[str, Tensor]:
        """The values by address; `graph` stands in for the cut's own. Errors: ShapeError for a size that it cannot take."""
        own = self.net.input_shape[1:]
        if tuple(x.shape[1:]) != tuple(own) and not (self.any_size and x.shape[1] == own[0]):
            raise ShapeError(f"{self.addresses[-1]} on an image of {tuple(x.shape[1:])}",
                             f"{self.net.name} takes {tuple(self.net.input_shape[1:])}"
                             + ("" if self.fixed is None else f", fixed by {layers.op_name(self.fixed)}"), "give that size")
        x = x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x
        with torch.random.fork_rng(devices=[]):
            found: Any = (graph or self.graph)(*[x if value is None else value for value in self.values])
        return dict(zip(self.addresses, found, strict=True))


def canvas(cut_: Cut, layer: Layer) -> tuple[int, int] | None:
    """(H, W) on which one position of `layer` sees all, and none of the padding; None: only the network's own size will do.

    An axis that is seen whole, or that the network's own size does not hold, keeps the network's own size.
    """
    size, fields = map_of(layer), layer.fields
    if not cut_.any_size or size is None or fields is None or len(size) != 2 or len(fields) != 2:
        return None
    sides: list[int] = []
    for field, n in zip(fields, cut_.net.input_shape[2:], strict=True):
        if field.size is None or not field.aligned:
            return None
        first = math.ceil(-field.start / field.stride) if field.start < 0 else 0
        sides.append(min(n, math.ceil(field.start + first * field.stride) + field.size))
    return sides[0], sides[1]


def centre(size: tuple[int, int], layer: Layer, height: int, width: int) -> tuple[int, int]:
    """The position of a map of `size` whose receptive field lies most centrally in a (height, width) canvas.

    Without a receptive field: the middle, of two the lower right.
    """
    if layer.fields is None or len(layer.fields) != 2:
        return size[0] // 2, size[1] // 2
    found: list[int] = []
    for field, count, n in zip(layer.fields, size, (height, width), strict=True):
        if field.centre is None:
            found.append(count // 2)
            continue
        middle = (n - 1) / 2
        away = [abs(float(field.centre + i * field.stride) - middle) for i in range(count)]
        closest = min(away)
        found.append(max(i for i, d in enumerate(away) if d <= closest + 1e-9))
    return found[0], found[1]
