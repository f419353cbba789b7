"""Weights come out of the graph units first, as the network uses them.

Turns red: in `learned.weight`, `.transpose(1, 2)` -> `` (transposed convolutions then mix inputs and units).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parametrizations

from convscope import learned
from convscope.network import Network
from tests.contracts.leaves import opened


def only(module: nn.Module, *shape: int) -> Network:
    return Network.open(nn.Sequential(module), torch.zeros(1, *shape))


def test_plain_layers_keep_their_weights() -> None:
    for module, shape in ((nn.Conv2d(4, 6, 3, groups=2), (4, 5, 5)), (nn.Conv1d(2, 3, 3), (2, 5)), (nn.Linear(7, 4), (7,))):
        net = only(module, *shape)
        found = learned.weight(net, net.layers[0])
        assert found is not None
        assert torch.equal(found, module.weight)
        assert not found.requires_grad


def test_a_transposed_convolution_is_read_unit_by_unit() -> None:
    """A unit's slice is what an impulse on each input channel writes into that unit."""
    for groups in (1, 2):
        module = nn.ConvTranspose2d(4, 6, 3, groups=groups, bias=False)
        net = only(module, 4, 1, 1)
        found = learned.weight(net, net.layers[0])
        assert found is not None
        assert found.shape == (6, 4 // groups, 3, 3)
        for channel in range(4):
            impulse = torch.zeros(1, 4, 1, 1)
            impulse[0, channel] = 1
            written = module(impulse)[0].detach()
            units = range(6) if groups == 1 else range(channel // 2 * 3, channel // 2 * 3 + 3)
            for unit in units:
                torch.testing.assert_close(found[unit, channel % (4 // groups)], written[unit])


def test_parametrised_weights_are_computed() -> None:
    for make in (parametrizations.weight_norm, parametrizations.spectral_norm):
        module = make(nn.Conv2d(2, 3, 3)).eval()
        net = only(module, 2, 4, 4)
        conv = next(layer for layer in net.layers if layer.operator == "conv2d")
        found = learned.weight(net, conv)
        assert found is not None
        torch.testing.assert_close(found, module.weight.detach())


def test_norms_are_lengths() -> None:
    module = nn.Conv2d(3, 5, 3)
    net = only(module, 3, 8, 8)
    found = learned.norms(net, net.layers[0])
    assert found is not None
    np.testing.assert_allclose(found, [np.sqrt((w**2).sum()) for w in module.weight.detach().double().numpy()])


class Dynamic(nn.Module):
    """A convolution whose weights are made of the image."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kernel = x.mean((0, 2, 3)).reshape(1, 3, 1, 1)
        return nn.functional.conv2d(x, kernel)


def test_layers_without_learned_weights_have_none() -> None:
    _, _, net = opened("plain")
    weighted = [layer.address for layer in net.layers if learned.weight(net, layer) is not None]
    assert weighted == ["conv1", "conv2", "fc1", "fc2"]
    net = Network.open(Dynamic(), torch.ones(2, 3, 4, 4))
    assert all(learned.weight(net, layer) is None for layer in net.layers)
    assert learned.norms(net, net.layers[-1]) is None
