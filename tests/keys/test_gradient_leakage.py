"""Gradients give the image away: exactly where a dense layer comes first, by search where a smooth network is shared.

Turns red: in `keys/gradient_leakage.py`, `biases[-1].argmin()` -> `argmax()` · `/ bias[unit]` left out.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from convscope.errors import UsageError
from convscope.keys.gradient_leakage import gradient, leak
from convscope.keys.key import Key
from convscope.keys.known import EXACT, quality
from convscope.keys.patches import patch_net
from convscope.network import Network
from tests.keys.sets import digits
from tests.traces import unchanged


def test_a_patch_network_gives_the_keyed_image() -> None:
    model, key = patch_net(), Key.new("orthogonal", 4, (1, 8, 8), 0)
    label = 7
    net, plain = Network.open(model, (1, 8, 8)), digits()[label][None]
    x = torch.from_numpy(key(plain))
    with unchanged(model, x):
        shared = gradient(net, x, label)
        found = leak(net, shared, starts=2)
    assert found.label == label
    assert found.distance < 1e-9
    np.testing.assert_allclose(found.x, x.numpy(), atol=1e-4)  # what leaks is the keyed image
    assert quality(plain, found.x)["psnr"][0] < 20
    assert quality(plain, key.undo(found.x))["psnr"][0] > 60
    assert EXACT == 100
    assert leak(net, shared, starts=2).x.tobytes() == found.x.tobytes()


def test_a_dense_first_layer_needs_no_search() -> None:
    net = Network.open(nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 5)), (1, 8, 8))
    x = torch.rand(1, 1, 8, 8)
    found = leak(net, gradient(net, x, 3))
    assert found.how.startswith("closed form")
    assert found.label == 3
    np.testing.assert_allclose(found.x, x.double().numpy(), atol=1e-10)


def test_the_gradient_is_autograds() -> None:
    model = patch_net(classes=4)
    x = torch.rand(1, 1, 8, 8, dtype=torch.float64)
    shared = gradient(Network.open(model, (1, 8, 8)), x, 2)
    twin = patch_net(classes=4).double()
    nn.functional.cross_entropy(twin(x), torch.tensor([2])).backward()
    for name, parameter in twin.named_parameters():
        torch.testing.assert_close(shared[name], parameter.grad)


def test_where_it_does_not_apply() -> None:
    net = Network.open(nn.Sequential(nn.Conv2d(1, 4, 4, 4), nn.Flatten(), nn.Linear(16, 3, bias=False)), (1, 8, 8))
    with pytest.raises(UsageError, match=r"does not tell the class; no bias of the last layer has exactly one neg"):
        leak(net, gradient(net, torch.rand(1, 1, 8, 8), 0))
    maps = Network.open(nn.Conv2d(1, 4, 4, 4), (1, 8, 8))
    with pytest.raises(UsageError, match=r"Conv2d is no classifier; its output is not \(B, K\)"):
        gradient(maps, torch.rand(1, 1, 8, 8), 0)
    bare = dataclasses.replace(net, name="saved", module=None)
    with pytest.raises(UsageError, match=r"saved cannot be asked for gradients of its weights; it was opened without a mod"):
        gradient(bare, torch.rand(1, 1, 8, 8), 0)
