"""The fast mode against the exact one: near it on every odd network, also where a change meets what is not linear.

Turns red if in deltas.py `_relu` takes `clean.clamp(min=0)` for `clean.clamp(max=0)`, or if `_start` hands on the image
itself.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from convscope.incremental.deltas import Differences
from convscope.incremental.executor import Incremental
from convscope.network import Network
from tests.incremental.test_executor import some
from tests.nets import NETS


def agree(net: Network, x: Tensor, stop: str | None = None) -> tuple[float, float]:
    """Relative error and correlation of the changes that windows make."""
    filled = torch.randn(x.shape, generator=torch.Generator().manual_seed(2))
    windows = some(*x.shape[2:])
    exact, quick = (kind(net, x, stop) for kind in (Incremental, Differences))
    true, near = ((p.covered(windows, filled) - p.clean).flatten() for p in (exact, quick))
    return float((true - near).norm() / true.norm()), float(np.corrcoef(true, near)[0, 1])


@pytest.mark.parametrize("name", NETS)
def test_near_the_exact_passes(name: str) -> None:
    module, x = NETS[name]()
    error, correlation = agree(Network.open(module, x, name=name), x[:1])
    assert error < 0.02
    assert correlation > 0.9995


class Odd(nn.Module):
    """Sigmoid gates, products of two maps, layer norm on permuted maps, average pooling that counts no padding."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3)
        self.norm, self.pool = nn.LayerNorm(4), nn.AvgPool2d(3, 2, 1, count_include_pad=False)
        self.lrn, self.fc = nn.LocalResponseNorm(3, alpha=0.1), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.sigmoid(self.a(x)) * nn.functional.silu(self.b(x)) + 1
        y = self.norm(y.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return self.fc(self.pool(self.lrn(self.c(y * 2))).mean((2, 3)))


def test_what_is_not_linear() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net, x = Network.open(Odd(), (3, 15, 13)), torch.randn(1, 3, 15, 13)
    error, correlation = agree(net, x)
    assert error < 0.05
    assert correlation > 0.998


def test_a_layer_in_the_middle_and_channels_set_to_zero() -> None:
    module, x = NETS["residual"]()
    net = Network.open(module, x)
    assert agree(net, x[:1], "block2.relu")[1] > 0.999
    exact, quick = (kind(net, x[:1]).ablated("relu", [0, 1, 2]) for kind in (Incremental, Differences))
    clean = net(x[:1])
    assert float((exact - quick).norm() / (exact - clean).norm()) < 0.02
