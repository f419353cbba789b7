"""Guided backpropagation against autograd with every ReLU swapped, by hand, and captum where captum is right and where not.

Turns red: in `attributions/_rectify.py`, `mask & (r > 0)` -> `mask` (it becomes the plain gradient).
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from captum.attr import GuidedBackprop as Peer
from captum.attr import Saliency
from torch import nn

from convscope.attributions.gradient import Gradient
from convscope.attributions.guided_backprop import GuidedBackprop
from convscope.errors import UsageError
from convscope.network import Network
from convscope.run import Target, target
from tests.attributions.swapped import WITH_RELU, WITHOUT_RELU, architecture, hold_same_bits, reference
from tests.contracts.leaves import opened
from tests.nets import NETS
from tests.traces import unchanged

PROOF = "rectifiers that the rule reached"
WITHOUT = ("grey", "rows_lstm")  # tanh, LSTM
RELU_NETS = [name for name in NETS if name not in WITHOUT]


def captum(model: nn.Module, x: torch.Tensor, k: int) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns that it sets hooks, and that x gets requires_grad
        return Peer(model).attribute(x.clone().requires_grad_(), target=k).detach().numpy()


def test_by_hand() -> None:
    """y = relu(x), S = y₀ − y₁ + 2y₂ of x = (1, 2, −3): only the first passes both conditions."""
    model = nn.Sequential(nn.Flatten(), nn.ReLU(), nn.Linear(3, 1, bias=False))
    model[2].weight.data = torch.tensor([[1.0, -1.0, 2.0]])
    net, x = Network.open(model, (1, 1, 3)), torch.tensor([[[[1.0, 2.0, -3.0]]]])
    assert GuidedBackprop()(net, x, Target("0", 0)).values.ravel().tolist() == [1, 0, 0]
    assert Gradient()(net, x, Target("0", 0)).values.ravel().tolist() == [1, -1, 0]


@pytest.mark.parametrize("name", RELU_NETS)
def test_same_bits_as_autograd_with_every_relu_swapped(name: str) -> None:
    found = hold_same_bits(GuidedBackprop(), "guided", opened(name))
    assert any("Nie" in note for note in found.notes)


@pytest.mark.slow
@pytest.mark.parametrize("name", WITH_RELU)
def test_same_bits_on_torchvision(name: str) -> None:
    hold_same_bits(GuidedBackprop(), "guided", architecture(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", WITHOUT_RELU)
def test_torchvision_without_relu_is_refused(name: str) -> None:
    _, x, net = architecture(name)
    with pytest.raises(UsageError, match=f"guided-backprop does not apply to {name}: it has no ReLU; its activations are"):
        GuidedBackprop()(net, x, Target("0", 0))


@pytest.mark.parametrize(("name", "activations"), [("grey", "2 tanh"), ("rows_lstm", "1 lstm")])
def test_a_network_without_relu_is_refused(name: str, activations: str) -> None:
    model, x, net = opened(name)
    message = (f"guided-backprop does not apply to {name}: it has no ReLU; its activations are {activations}; "
               "take gradient or integrated-gradients")
    with unchanged(model, x), pytest.raises(UsageError, match=message):
        GuidedBackprop()(net, x, Target("0", 0))
    linear = Network.open(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), (1, 2, 2))
    with pytest.raises(UsageError, match="it has no ReLU; it has no activation that we know"):
        GuidedBackprop()(linear, torch.ones(1, 1, 2, 2), Target("0", 0))


@pytest.mark.parametrize("name", ["plain", "concat", "dilated", "ceil_pool", "no_bias", "non_square"])
def test_same_as_captum_where_every_relu_is_a_module_of_its_own(name: str) -> None:
    model, x, net = opened(name)
    found, peer = GuidedBackprop()(net, x, target(net, 3, x)).values, captum(model, x, 3)
    np.testing.assert_allclose(found, peer, rtol=0, atol=1e-6 * np.abs(peer).max())


def test_captum_misses_functional_relu_and_we_do_not() -> None:
    """captum's answer is the plain gradient, bit for bit."""
    model, x, net = opened("functional_relu")
    plain = Saliency(model).attribute(x.clone().requires_grad_(), target=1, abs=False).detach().numpy()
    np.testing.assert_array_equal(captum(model, x, 1), plain)
    found = GuidedBackprop()(net, x, target(net, 1, x)).values
    assert np.abs(found - plain).max() > 0.1 * np.abs(plain).max()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_captum_gives_the_plain_gradient_of_googlenet(name: str) -> None:
    model, x, net = architecture(name)
    plain = Saliency(model).attribute(x.clone().requires_grad_(), target=1, abs=False).detach().numpy()
    np.testing.assert_array_equal(captum(model, x, 1), plain)
    found = GuidedBackprop()(net, x, target(net, 1, x)).values
    assert np.abs(found - plain).max() > 0.1 * np.abs(plain).max()


def test_units_and_positions() -> None:
    model, x, net = opened("residual")
    found = GuidedBackprop()(net, x, target(net, "block2.conv2/3@2,1", x))
    seen: list[torch.Tensor] = []
    handle = model.get_submodule("block2.conv2").register_forward_hook(lambda *a: seen.append(a[2]))
    wanted, _ = reference(model, x, lambda _: seen[-1][:, 3, 2, 1], "guided")
    handle.remove()
    np.testing.assert_array_equal(found.values, wanted)
    assert found.proof[PROOF] == "4 of 4"
    mean = GuidedBackprop()(net, x, target(net, "block2.conv2/3", x))
    np.testing.assert_allclose(mean.scores, seen[-1][:, 3].mean((1, 2)).detach(), rtol=1e-6)


def test_before_the_first_relu_it_says_that_it_is_the_gradient() -> None:
    _, x, net = opened("residual")
    asked = target(net, "conv1/2", x)
    found = GuidedBackprop()(net, x, asked)
    np.testing.assert_array_equal(found.values, Gradient()(net, x, asked).values)
    assert found.proof[PROOF] == "0 of 0"
    assert found.notes[0] == "no rectifier lies between the image and the target: this is the plain gradient"


class Spellings(nn.Module):
    """Six rectifiers, and two that are none: a clamp from below at one, and SiLU."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = x.clamp(min=0) + torch.clamp_min(x, 0) + F.threshold(x, 0.0, 0.0) + x.relu() + F.relu6(x) + x.clamp(0, 6)
        return (a + x.clamp(min=-1) + F.silu(x)).flatten(1)[:, :2]


def test_every_spelling_of_a_rectifier_is_reached_and_others_are_named() -> None:
    net, x = Network.open(Spellings(), (1, 1, 2)), torch.tensor([[[[2.0, -2.0]]]])
    found = GuidedBackprop()(net, -x, Target("0", 0))
    assert found.proof == {PROOF: "6 of 6", "activations left with their own derivative": "1 silu"}
    assert Gradient()(net, 4 * x, Target("0", 0)).values[0, 0, 0, 0] == pytest.approx(6, abs=0.01)  # 8 > 6: two are flat


def test_a_rule_that_is_not_reached_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from convscope.attributions import _rectify

    run = _rectify.Rectifiers._run
    skipped: list[str] = []

    def faulty(self: _rectify.Rectifiers, node: torch.fx.Node, call: object, *args: object, **kwargs: object) -> object:
        if not skipped or node.name in skipped:
            skipped.append(node.name)
            return call(*args, **kwargs)  # type: ignore[operator]
        return run(self, node, call, *args, **kwargs)

    monkeypatch.setattr(_rectify.Rectifiers, "_run", faulty)
    _, x, net = opened("plain")
    found = GuidedBackprop()(net, x, Target("0", 0))
    assert found.proof[PROOF] == "2 of 3"
    assert found.notes[0] == f"the promise fails: the rule did not reach {skipped[0]}"
