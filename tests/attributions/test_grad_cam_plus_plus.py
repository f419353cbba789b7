"""Grad-CAM++ against second and third derivatives by autograd, against each wrong variant, and at the ends of float32.

Turns red: in `attributions/grad_cam_plus_plus.py`, `below = 2 + …` -> `below = 1 + …`.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from convscope.attributions import _layer
from convscope.attributions.grad_cam_plus_plus import GradCAMPlusPlus, alpha
from convscope.network import Network
from convscope.run import Target, target
from tests.contracts.leaves import opened


class Toy(nn.Module):
    """Maps A = |conv| and a score that is piecewise linear in them, with another slope at every position."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc1, self.fc2 = nn.Conv2d(1, 2, 2), nn.Linear(18, 7), nn.Linear(7, 3)

    def above(self, maps: Tensor) -> Tensor:
        return self.fc2(self.fc1(maps.flatten(1)).relu())

    def forward(self, x: Tensor) -> Tensor:
        return self.above(self.conv(x).relu())


def toy() -> tuple[Toy, Network, Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model, x = Toy().double(), torch.randn(1, 1, 4, 4, dtype=torch.float64)
    return model, Network.open(model, x), x


def by_derivatives(model: Toy, x: Tensor, k: int) -> tuple[Any, Any]:
    """α and the small map, from ∂Y, ∂²Y and ∂³Y of Y = exp(S) by autograd, position by position (equation 19)."""
    maps = model.conv(x).relu().detach()
    n, h, w = maps.shape[1:]
    alphas, weights = np.zeros((n, h, w)), np.zeros(n)
    for c, i, j in product(range(n), range(h), range(w)):
        own = maps.clone().requires_grad_()
        y = model.above(own)[0, k].exp()
        (first,) = torch.autograd.grad(y, own, create_graph=True)
        (second,) = torch.autograd.grad(first[0, c, i, j], own, create_graph=True)
        (third,) = torch.autograd.grad(second[0, c, i, j], own)
        d1, d2, d3 = (float(d.detach()[0, c, i, j]) for d in (first, second, third))
        below = 2 * d2 + float(maps[0, c].sum()) * d3
        alphas[c, i, j] = d2 / below if d2 != 0 else 0.0
        weights[c] += alphas[c, i, j] * max(d1, 0.0)
    return alphas, np.einsum("c,chw->hw", weights, maps[0].numpy())


@pytest.mark.parametrize("k", [0, 1, 2])
def test_same_as_second_and_third_derivatives(k: int) -> None:
    model, net, x = toy()
    alphas, small = by_derivatives(model, x, k)
    maps = _layer.maps(net, x, Target(str(k), k), net["relu"])
    found, doubtful = alpha(maps.values, maps.slopes)
    np.testing.assert_allclose(found[0], alphas, rtol=1e-9)
    assert doubtful == 0
    weights = (found * maps.slopes.relu()).sum((2, 3))
    ours = _layer.weighted(maps.values, weights, relu=False)[0, 0] * float(maps.scores.exp())
    np.testing.assert_allclose(ours, small, rtol=1e-9)
    assert np.abs(small).max() > 0


def test_the_map_is_that_in_units_of_exp_score() -> None:
    model, net, x = toy()
    found = GradCAMPlusPlus(layer="relu")(net, x, Target("1", 1))
    _, small = by_derivatives(model, x, 1)
    wanted = _layer.resized(torch.from_numpy(small)[None, None], (4, 4))[0, 0]
    np.testing.assert_allclose(found.map[0] * np.exp(found.scores[0]), wanted, rtol=1e-9)


def test_each_wrong_variant_is_another() -> None:
    """Σ A·g³ inside the sum; no division; an absolute eps that swallows small gradients."""
    _, net, x = toy()
    maps = _layer.maps(net, x, Target("0", 0), net["relu"])
    a, g = maps.values, maps.slopes
    right, _ = alpha(a, g)
    inside = g**2 / (2 * g**2 + (a * g**3).sum((2, 3), keepdim=True))
    undivided = 2 * g**2 + a.sum((2, 3), keepdim=True) * g**3
    tiny = g * 1e-6
    absolute = tiny**2 / (2 * tiny**2 + a.sum((2, 3), keepdim=True) * tiny**3 + 1e-7)
    assert float((right - inside.nan_to_num()).abs().max()) > 1e-2
    assert float((right - undivided).abs().max()) > 1e-2
    assert float((alpha(a, tiny)[0] - absolute).abs().max()) > 0.4


@pytest.mark.parametrize("size", [1e-25, 1e-12, 1.0, 1e6])
def test_gradients_of_any_size_have_an_alpha(size: float) -> None:
    """In float32 g² of 1e-25 is zero, and g³ of 1e13 infinite: α is worked out without either."""
    values, slopes = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(0)), torch.full((1, 3, 4, 4), size)
    found, _ = alpha(values, slopes)
    wanted = 1 / (2 + values.double().sum((2, 3), keepdim=True) * size)
    np.testing.assert_allclose(found, wanted.expand(found.shape), rtol=1e-5)


def test_no_gradient_and_a_denominator_of_zero() -> None:
    values, slopes = torch.full((1, 1, 1, 2), -1.0), torch.tensor([[[[0.0, 1.0]]]])
    found, doubtful = alpha(values, slopes)
    assert found[0, 0, 0, 0] == 0
    assert torch.isfinite(found).all()
    assert doubtful == 0.5


def test_scores_that_would_overflow_do_not() -> None:
    model, x = opened("plain")[:2]
    import copy

    big = copy.deepcopy(model)
    big.fc2.bias.data += 500.0  # type: ignore[union-attr,operator]
    found = GradCAMPlusPlus()(Network.open(big, x), x, Target("1", 1))
    other = GradCAMPlusPlus()(opened("plain")[2], x, Target("1", 1))
    np.testing.assert_allclose(found.values, other.values, rtol=1e-4)
    assert found.scores[0] > 400


def test_what_is_not_piecewise_linear_is_named() -> None:
    _, x, net = opened("grey")
    early, late = (GradCAMPlusPlus(layer=a)(net, x, target(net, 1, x)) for a in ("conv1", "pool2"))
    assert early.proof["piecewise linear from layer to score"] == "no: 2 tanh"
    assert "leave out the curvature of 2 tanh" in early.notes[0]
    assert late.proof["piecewise linear from layer to score"] == "yes"
