"""Networks whose units stand in another order and which compute the same; and images to show to them."""

from __future__ import annotations

import copy

import torch
from torch import nn

from convscope.comparisons._images import Images
from convscope.data import Collection
from convscope.images import Preprocess
from convscope.network import Network
from tests.contracts.leaves import opened
from tests.contracts.studies import collection

ORDERS = {"conv1": [3, 0, 5, 1, 4, 2], "conv2": [7, 2, 0, 6, 4, 1, 3, 5], "fc1": [9, 3, 1, 0, 2, 8, 7, 4, 6, 5]}


def plain() -> tuple[Network, Network]:
    """The net 'plain' and the same with the units of three layers in the order of ORDERS: new unit i is old ORDERS[i]."""
    model, x, net = opened("plain")
    other = copy.deepcopy(model)
    with torch.no_grad():
        for layer, following in (("conv1", "conv2"), ("conv2", "fc1"), ("fc1", "fc2")):
            here, there, order = getattr(other, layer), getattr(other, following), ORDERS[layer]
            here.weight.copy_(here.weight[order].clone())
            here.bias.copy_(here.bias[order].clone())
            if layer == "conv2":  # its maps of 4×4 are flattened
                columns = there.weight.reshape(len(there.weight), 8, 16)[:, order].flatten(1)
            else:
                columns = there.weight[:, order]
            there.weight.copy_(columns.clone())
    moved = Network.open(other, x, "permuted")
    assert torch.allclose(net(x), moved(x), atol=1e-6)
    return net, moved


def images(count: int = 24, networks: int = 2, size: tuple[int, int] = (16, 16)) -> Images:
    """Of which number 5 cannot be read."""
    return Images(several(count, size), (Preprocess(mean=(0.5,), std=(0.25,)),) * networks)


def several(count: int, size: tuple[int, int]) -> Collection:
    return collection(count, *size, 3)


def same_body(width: int, size: int) -> nn.Module:
    """A small network whose first layer has `width` units."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, width, 3, stride=size), nn.ReLU())
