"""Grad-CAM against CAM, captum's LayerGradCam and finite differences; its choice of a layer; blank maps.

Turns red: in `attributions/grad_cam.py`, `maps.slopes.mean((2, 3))` -> `maps.slopes.sum((2, 3))`.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import LayerGradCam

from convscope.attributions import _layer, _map
from convscope.attributions.cam import CAM
from convscope.attributions.grad_cam import GradCAM
from convscope.errors import UnknownName, UsageError
from convscope.network import Network
from convscope.run import Target, target
from tests.attributions.cams import MEAN_AND_LINEAR, enlarged, large
from tests.contracts.leaves import opened
from tests.nets import NETS

PROOF = "disagreement of its sum, plus the bias, with the score"


def same_as_cam(net: Network, x: torch.Tensor) -> None:
    asked = target(net, 1, x)
    cam, found = CAM()(net, x, asked), GradCAM()(net, x, asked)
    h, w = map(int, str(found.proof["map of the layer"]).split("×"))
    wanted = cam.values / (h * w)
    np.testing.assert_allclose(found.values, wanted, rtol=0, atol=1e-6 * np.abs(wanted).max())
    assert found.proof["layer"] == cam.proof["layer"]
    assert found.proof[PROOF] < 1e-5  # type: ignore[operator]


@pytest.mark.parametrize("name", MEAN_AND_LINEAR)
def test_behind_a_mean_and_a_linear_layer_it_is_cam(name: str) -> None:
    """norm_first's last maps pass through a dropout, which is one of them."""
    same_as_cam(opened(name)[2], opened(name)[1])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "resnet50", "densenet121", "googlenet", "inception_v3", "squeezenet1_1",
                                  "mobilenet_v2", "efficientnet_b0"])
def test_on_large_networks_it_is_cam(name: str) -> None:
    """In float64: a thousand maps cancel, and in float32 each gradient of the mean is rounded once more than the weight."""
    _, x, net = large(name, torch.float64)
    same_as_cam(net, x)


@pytest.mark.parametrize(("name", "address"), [("plain", "conv2"), ("plain", "pool1"), ("residual", "block1.bn2"),
                                               ("residual", "block2.conv1"), ("grouped", "depthwise"), ("grey", "tanh1"),
                                               ("concat", "branch2.2"), ("norm_first", "conv1"), ("non_square", "pool1")])
@pytest.mark.parametrize("relu", [False, True])
def test_same_as_captum(name: str, address: str, relu: bool) -> None:
    """Captum's map is the small one; its ReLU is off by default, as here."""
    model, x, net = opened(name)
    module: Any = model.get_submodule(address)
    peer = LayerGradCam(model, module).attribute(x, target=1, relu_attributions=relu)
    assert isinstance(peer, torch.Tensor)
    peer = peer.detach()
    method = GradCAM(layer=address, relu=relu)
    _, small = method.small(net, x, target(net, 1, x))
    small = small.relu() if relu else small
    np.testing.assert_allclose(small, peer, rtol=0, atol=1e-6 * float(peer.abs().max()))
    shown = method(net, x, target(net, 1, x)).map
    for b in range(len(x)):
        twin = enlarged(peer[b, 0].numpy(), *x.shape[2:])
        np.testing.assert_allclose(shown[b], twin, rtol=0, atol=2e-6 * np.abs(twin).max() + 1e-12)


def test_where_captum_reads_the_wrong_call_it_reads_the_right_one() -> None:
    """One convolution called twice: captum's hook gives the last call's maps; here each call has its address."""
    model, x, net = opened("shared_module")
    peer = LayerGradCam(model, model.conv).attribute(x, target=1)
    assert isinstance(peer, torch.Tensor)
    first, second = (GradCAM(layer=a).small(net, x, target(net, 1, x))[1] for a in ("conv", "conv:1"))
    assert first.shape[2:] == (16, 16)
    assert second.shape[2:] == (8, 8)
    assert peer.shape != first.shape or not torch.allclose(peer, first)


@pytest.mark.parametrize("name", [n for n in NETS if n != "rows_lstm"])
def test_slopes_are_those_of_finite_differences(name: str) -> None:
    """The gradient at a layer, from a forward that starts there, against autograd from the image, by the chain rule."""
    _, x, net = opened(name)
    asked = target(net, 1, x)
    layer = _layer.chosen(net, asked, None, "x")
    maps = _layer.maps(net, x, asked, layer)
    own = x.clone().requires_grad_()
    value = net.run(own, keep=[layer.address], grad=True)[layer.address]
    (along,) = torch.autograd.grad((value * maps.slopes).sum(), own)
    np.testing.assert_allclose(along, _map.gradient(net, x, asked)[0], rtol=0, atol=1e-5 * float(along.abs().max()))


def test_the_layer_is_the_last_with_a_map_that_the_target_depends_on() -> None:
    _, x, net = opened("concat")

    def at(asked: Any, name: str = "concat") -> str:
        net = opened(name)[2]
        return _layer.chosen(net, target(net, asked, opened(name)[1]), None, "x").address

    assert at(0) == "concat"
    assert at(0, "plain") == "pool2"
    assert at(0, "residual") == "block2.relu:1"
    assert at("branch2.0/1") == "stem.1"
    assert at("concat/4") == "branch4.2"
    assert at("stem.0/4@1,1") == "stem.0"
    with pytest.raises(UsageError, match=r"cannot explain 'branch2.0/1' at layer 'branch1.0'; the target does not depend"):
        GradCAM(layer="branch1.0")(net, x, target(net, "branch2.0/1", x))
    with pytest.raises(UsageError, match=r"Grad-CAM cannot read layer 'head.0'; its output 10×1×1 is no stack of maps"):
        GradCAM(layer="head.0")(net, x, target(net, 0, x))
    with pytest.raises(UnknownName, match="no layer named 'brunch'"):
        GradCAM(layer="brunch")(net, x, target(net, 0, x))
    _, rows, lstm = opened("rows_lstm")
    with pytest.raises(UsageError, match="Grad-CAM does not apply to '0' of rows_lstm; the target depends on no layer with"):
        GradCAM()(lstm, rows, Target("0", 0))


def test_an_identity_that_does_not_hold_is_said_not_to() -> None:
    _, x, net = opened("plain")
    assert "no layer takes the mean" in str(GradCAM()(net, x, target(net, 0, x)).proof["equal to CAM"])
    _, x, net = opened("residual")
    early = GradCAM(layer="conv1")(net, x, target(net, 0, x)).proof
    assert early["equal to CAM"] == "not promised: the mean is taken over block2.relu:1, not over conv1"


@pytest.mark.parametrize("leaf", ["GradCAM", "GradCAMPlusPlus", "LayerCAM", "ScoreCAM", "GuidedGradCAM"])
def test_dead_targets_and_maps_below_zero_give_zeros_and_words(leaf: str) -> None:
    from convscope import registry

    stem = {"GradCAM": "grad-cam", "GradCAMPlusPlus": "grad-cam-plus-plus", "LayerCAM": "layer-cam", "ScoreCAM": "score-cam",
            "GuidedGradCAM": "guided-grad-cam"}[leaf]
    method = registry.load("attributions", stem)
    _, x, net = opened("residual")
    dead = dataclasses.replace(net, tensors={k: torch.zeros_like(v) for k, v in net.tensors.items()}, _at={})
    found = method()(dead, x, Target("1", 1))
    assert not found.values.any()
    assert np.isfinite(found.values).all()
    assert any("images 0, 1 is zero everywhere" in note for note in found.notes)


def test_an_all_negative_map_keeps_its_sign_and_vanishes_with_relu() -> None:
    model, x = NETS["residual"]()
    torch.nn.init.constant_(model.head[2].weight, -1.0)  # type: ignore[index,union-attr,arg-type]
    net = Network.open(model, x)
    signed, drawn = (GradCAM(relu=relu)(net, x, Target("1", 1)) for relu in (False, True))
    assert signed.values.max() <= 0
    assert signed.values.min() < 0
    assert signed.proof["share of its values below zero"] > 0.5  # type: ignore[operator]
    assert not drawn.values.any()
    assert any("zero everywhere" in note for note in drawn.notes)
    assert drawn.proof[PROOF] < 1e-5  # type: ignore[operator]
