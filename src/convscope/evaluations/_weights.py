"""A network with random weights from the top down, on a private copy of its tensors."""

from __future__ import annotations

import dataclasses
import zlib

import numpy as np
import torch
from torch import Tensor
from torch.fx import Node

from convscope.evaluations._case import Floats
from convscope.network import Network


def layers_with_weights(net: Network) -> list[tuple[str, list[str]]]:
    """Address and the names of the floating-point tensors of every layer that has some, from the output to the input.

    A tensor that two layers share belongs to the one nearer to the output.
    """
    images = {node.name for node in net.inputs}
    live: set[Node] = set()
    for node in net.program.graph.nodes:
        if node.name in images or any(a in live for a in node.all_input_nodes):
            live.add(node)
    by_name = {node.name: node for node in net.program.graph.nodes}
    taken: set[str] = set()
    found: list[tuple[str, list[str]]] = []
    for layer in reversed(net.layers):
        mine: list[str] = []
        waiting = [a for a in by_name[layer.node].all_input_nodes if a not in live]
        while waiting:
            node = waiting.pop(0)
            waiting += [a for a in node.all_input_nodes if a not in live]
            if node.name in net.tensors and node.name not in taken and net.tensors[node.name].is_floating_point():
                taken.add(node.name)
                mine.append(node.name)
        if mine:
            found.append((layer.address, mine))
    return found


def randomised(net: Network, names: list[str], seed: int) -> Network:
    """A private copy whose tensors `names` are drawn anew; the others are shared and never written.

    Kernels and matrices are drawn from a normal distribution with their own mean and deviation; vectors (biases, scales,
    running statistics) are shuffled, so that variances stay positive. The draw of a tensor depends on the seed and on its
    name alone.
    """
    made = {name: _drawn(net.tensors[name], seed, name) for name in names}
    # Without its module nobody can open the trained network again by way of the copy.
    return dataclasses.replace(net, tensors={**net.tensors, **made}, module=None, _at={})


def _drawn(tensor: Tensor, seed: int, name: str) -> Tensor:
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    values = tensor.detach().double().cpu().numpy()
    if values.ndim >= 2:
        values = values.mean() + values.std() * rng.standard_normal(values.shape)
    else:
        values = rng.permutation(values.reshape(-1)).reshape(values.shape)
    with torch.inference_mode(False):
        return torch.from_numpy(np.ascontiguousarray(values)).to(tensor)


def unit(values: Floats) -> Floats:
    """|A| over its largest value: 0 … 1."""
    size = np.abs(values)
    return size / size.max() if size.max() > 0 else size
