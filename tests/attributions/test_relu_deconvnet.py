"""The deconvnet's ReLU rule against autograd with every ReLU swapped, by hand, and captum.

Turns red: in `attributions/_rectify.py`, in `deconvnet`, `torch.where(r > 0, …)` -> `torch.where(r >= -1, …)`.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from captum.attr import Deconvolution
from torch import nn

from convscope.attributions.relu_deconvnet import ReLUDeconvnet
from convscope.errors import UsageError
from convscope.network import Network
from convscope.run import Target, target
from tests.attributions.swapped import WITH_RELU, WITHOUT_RELU, architecture, hold_same_bits
from tests.attributions.test_guided_backprop import RELU_NETS
from tests.contracts.leaves import opened


def test_by_hand() -> None:
    """S = y₀ − y₁ + 2y₂, y = relu(x): what comes back positive passes, also where x is negative."""
    model = nn.Sequential(nn.Flatten(), nn.ReLU(), nn.Linear(3, 1, bias=False))
    model[2].weight.data = torch.tensor([[1.0, -1.0, 2.0]])
    net, x = Network.open(model, (1, 1, 3)), torch.tensor([[[[1.0, 2.0, -3.0]]]])
    assert ReLUDeconvnet()(net, x, Target("0", 0)).values.ravel().tolist() == [1, 0, 2]


@pytest.mark.parametrize("name", RELU_NETS)
def test_same_bits_as_autograd_with_every_relu_swapped(name: str) -> None:
    found = hold_same_bits(ReLUDeconvnet(), "deconvnet", opened(name))
    assert any("Nie" in note for note in found.notes)


@pytest.mark.slow
@pytest.mark.parametrize("name", WITH_RELU)
def test_same_bits_on_torchvision(name: str) -> None:
    hold_same_bits(ReLUDeconvnet(), "deconvnet", architecture(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", WITHOUT_RELU)
def test_torchvision_without_relu_is_refused(name: str) -> None:
    _, x, net = architecture(name)
    with pytest.raises(UsageError, match=f"relu-deconvnet does not apply to {name}: it has no ReLU"):
        ReLUDeconvnet()(net, x, Target("0", 0))


def test_without_relu_it_does_not_apply() -> None:
    _, x, net = opened("grey")
    with pytest.raises(UsageError, match="relu-deconvnet does not apply to grey: it has no ReLU; its activations are"):
        ReLUDeconvnet()(net, x, Target("0", 0))


@pytest.mark.parametrize("name", ["plain", "concat", "dilated", "no_bias"])
def test_same_as_captum_where_every_relu_is_a_module_of_its_own(name: str) -> None:
    model, x, net = opened(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns that it sets hooks, and that x gets requires_grad
        peer = Deconvolution(model).attribute(x.clone().requires_grad_(), target=3).detach().numpy()
    found = ReLUDeconvnet()(net, x, target(net, 3, x)).values
    np.testing.assert_allclose(found, peer, rtol=0, atol=1e-6 * np.abs(peer).max())
