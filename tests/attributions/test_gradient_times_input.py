"""Gradient × input: Euler's theorem on networks without bias, linear networks, captum; and what breaks the promise is named.

Turns red: in `attributions/gradient_times_input.py`, `x * slopes` -> `slopes`.
"""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from captum.attr import InputXGradient
from torch import nn

from convscope.attributions import _map
from convscope.attributions.gradient_times_input import GradientTimesInput, inhomogeneous
from convscope.network import Network
from convscope.run import Target, target
from tests.attributions.swapped import architecture
from tests.contracts.leaves import opened
from tests.nets import NETS

OFF = "difference of the sum to the score"


def test_without_bias_the_sum_is_the_score() -> None:
    _, x, net = opened("no_bias")
    found = GradientTimesInput()(net, x, target(net, 1, x))
    np.testing.assert_allclose(found.values.sum((1, 2, 3)), found.scores, rtol=1e-4)
    assert found.proof[OFF] < 1e-4  # type: ignore[operator]
    assert found.proof["applies"] == "yes: no bias between the image and the target"


@pytest.mark.parametrize("name", NETS)
def test_same_as_captum(name: str) -> None:
    model, x, net = opened(name)
    peer = InputXGradient(model).attribute(x.clone().requires_grad_(), target=3).detach()
    found = GradientTimesInput()(net, x, target(net, 3, x)).values
    np.testing.assert_allclose(found, peer, rtol=0, atol=1e-6 * float(peer.abs().max()))


@pytest.mark.parametrize(("name", "named"), [
    ("plain", "conv1 (bias)"), ("residual", "bn1 (batch norm)"), ("grey", "tanh1 (tanh)"), ("grouped", "relu1 (hardtanh)"),
    ("rows_lstm", "lstm (lstm)"), ("norm_first", "bn0 (batch norm)")])
def test_what_is_not_homogeneous_is_named(name: str, named: str) -> None:
    _, x, net = opened(name)
    assert named in inhomogeneous(net, Target("0", 0))
    applies = str(GradientTimesInput()(net, x, Target("0", 0)).proof["applies"])
    assert applies.startswith("no: the sum need not be the score, for ")


@pytest.mark.parametrize("name", ["plain", "residual", "concat", "in_place", "dilated", "ceil_pool", "shared_module",
                                  "functional_relu", "norm_first"])
def test_take_the_biases_away_and_the_promise_holds(name: str) -> None:
    """Through sums, concatenations, average pooling, ceil mode: all homogeneous."""
    model, x = NETS[name]()
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear, nn.BatchNorm2d)) and module.bias is not None:
            module.bias.data.zero_()
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.zero_()  # type: ignore[union-attr]
    model, x = model.double(), x.double()
    found = GradientTimesInput()(net := Network.open(model, x), x, target(net, 1, x))
    assert found.proof["applies"] == "yes: no bias between the image and the target"
    assert found.proof[OFF] < 1e-12  # type: ignore[operator]


class Mixed(nn.Module):
    """Of the image: + 1, ÷ by itself, × itself, ÷ 2, × 3, a padding of ones, a sum of two."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        ways = (lambda: x + 1, lambda: x / (x.abs() + x.abs()), lambda: x * x, lambda: x / 2, lambda: 3 * x,
                lambda: F.pad(x, (1, 1), value=1.0), lambda: x + x.abs(), lambda: F.pad(x, (1, 1)), lambda: 1 / x)
        return ways[self.at]().flatten(1)


@pytest.mark.parametrize(("at", "holds"), [(0, False), (1, False), (2, False), (3, True), (4, True), (5, False), (6, True),
                                           (7, True), (8, False)])
def test_sums_and_products_are_told_apart(at: int, holds: bool) -> None:
    net = Network.open(Mixed(at), (1, 2, 2))
    assert (inhomogeneous(net, Target("0", 0)) == []) is holds


def test_up_to_a_unit_only_what_lies_before_it_counts() -> None:
    _, x, net = opened("residual")
    found = GradientTimesInput()(net, x, target(net, "conv1/2@3,4", x))
    assert found.proof["applies"] == "yes: no bias between the image and the target"
    assert found.proof[OFF] < 1e-5  # type: ignore[operator]


def test_a_promise_that_fails_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    right = _map.gradient
    monkeypatch.setattr(_map, "gradient", lambda *a: (2 * right(*a)[0], right(*a)[1]))
    _, x, net = opened("no_bias")
    found = GradientTimesInput()(net, x, Target("0", 0))
    assert found.notes[0] == "the promise fails: the sum differs from the score by 50.0%"


@pytest.mark.slow
def test_on_resnet18_without_biases() -> None:
    model, x, _ = architecture("resnet18")
    bare = copy.deepcopy(model)
    for module in bare.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.zero_()  # type: ignore[union-attr]
        if isinstance(module, (nn.BatchNorm2d, nn.Linear)):
            module.bias.data.zero_()
    net = Network.open(bare, x)
    found = GradientTimesInput()(net, x, Target("3", 3))
    assert found.proof["applies"] == "yes: no bias between the image and the target"
    assert found.proof[OFF] < 1e-9  # type: ignore[operator]
