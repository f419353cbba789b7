"""Gradient saliency against the derivative by hand, central differences, and captum's Saliency.

Turns red: in `attributions/_map.py`, `score.sum()` -> `score.mean()`.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from captum.attr import Saliency
from torch import nn

from convscope.attributions import _map
from convscope.attributions.gradient import Gradient, in_double
from convscope.errors import ShapeError
from convscope.network import Network
from convscope.run import Target, target
from tests.contracts.leaves import opened
from tests.nets import NETS

PROOF = "disagreement with a finite difference"


def test_of_a_linear_network_it_is_the_weights() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    net, x = Network.open(model, (3, 2, 2)), torch.linspace(-1, 1, 24).reshape(2, 3, 2, 2)
    found = Gradient()(net, x, target(net, 1, x))
    weights = model[1].weight.detach()[1].reshape(3, 2, 2).numpy()
    for b in range(2):
        np.testing.assert_array_equal(found.values[b], weights)
    np.testing.assert_allclose(found.map, np.stack([weights.sum(0)] * 2))


class Polynomial(nn.Module):
    """S₀ = Σ x³, S₁ = x₀₀·x₁₁, S₂ = 1."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        product = x[:, 0, 0, 0] * x[:, 0, 1, 1]
        return torch.stack([x.pow(3).sum((1, 2, 3)), product, torch.ones_like(product)], 1)


def test_of_a_polynomial_it_is_the_derivative() -> None:
    net, x = Network.open(Polynomial(), (1, 2, 2)), torch.tensor([[[[2.0, -1.0], [0.5, 3.0]]]])
    cubes, product = (Gradient()(net, x, Target(str(k), k)) for k in (0, 1))
    np.testing.assert_allclose(cubes.values, 3 * x**2)
    np.testing.assert_allclose(product.values, [[[[3.0, 0.0], [0.0, 2.0]]]])
    assert product.proof[PROOF] < 1e-6  # type: ignore[operator]


def test_a_score_that_ignores_the_image_has_no_slope() -> None:
    net = Network.open(Polynomial(), (1, 2, 2))
    found = Gradient()(net, torch.ones(1, 1, 2, 2), Target("2", 2))
    assert not found.values.any()
    assert found.proof[PROOF] == 0


@pytest.mark.parametrize("name", NETS)
def test_same_as_captum(name: str) -> None:
    model, x, net = opened(name)
    peer = Saliency(model).attribute(x.clone().requires_grad_(), target=3, abs=False)
    found = Gradient()(net, x, target(net, 3, x)).values
    np.testing.assert_allclose(found, peer.detach(), rtol=0, atol=1e-6 * float(peer.abs().max()))


@pytest.mark.parametrize("name", NETS)
def test_the_proof_holds(name: str) -> None:
    _, x, net = opened(name)
    assert Gradient()(net, x, target(net, 0, x)).proof[PROOF] < 1e-6  # type: ignore[operator]


@pytest.mark.parametrize("name", ["plain", "rows_lstm"])
def test_the_proof_can_fail(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gradient that is wrong in one of its pixels is found out."""
    right = _map.gradient

    def wrong(*asked: object) -> tuple[torch.Tensor, torch.Tensor]:
        slope, score = right(*asked)  # type: ignore[arg-type]
        slope[0, 0, 4, 4] += slope.abs().max()
        return slope, score

    monkeypatch.setattr(_map, "gradient", wrong)
    _, x, net = opened(name)
    assert Gradient()(net, x, target(net, 0, x)).proof[PROOF] > 1e-2  # type: ignore[operator]


def test_the_proof_is_worked_out_in_float64() -> None:
    """Also where the graph makes tensors of a type of its own, as an LSTM's first state."""
    _, x, net = opened("rows_lstm")
    exact, rules = in_double(net)
    assert "zeros" in rules
    score = Target("0", 0).score(exact, x.double(), rules=rules)
    assert score.dtype == torch.float64
    np.testing.assert_allclose(score, net(x)[:, 0], rtol=1e-5)


def test_a_flat_image_lies_on_kinks_but_the_proof_holds() -> None:
    """Equal pixels tie in max pooling: the finite difference is taken beside them."""
    _, _, net = opened("plain")
    x = torch.full((1, 3, 16, 16), 0.5)
    assert Gradient()(net, x, target(net, 0, x)).proof[PROOF] < 1e-6  # type: ignore[operator]


def test_inputs_that_are_no_images_are_refused() -> None:
    net = Network.open(nn.Linear(3, 2), (3,))
    with pytest.raises(ShapeError, match="a heat-map needs images B×C×H×W of floating point; Linear reads"):
        Gradient()(net, torch.ones(1, 3), Target("0", 0))
