"""Filters are the weights themselves: colours on the image, slices or means deeper.

Turns red: in `features/filters.py`, `kept[:, ::-1] if bgr else kept` -> `kept`.
"""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from torch import nn

from convscope.errors import UnknownName, UsageError
from convscope.features.filters import Filters
from convscope.images import PRESETS
from convscope.network import Network
from tests.contracts.leaves import opened


def weights_of(module: nn.Module) -> np.ndarray:
    return module.weight.detach().double().numpy()  # type: ignore[union-attr,operator]


def test_colour_filters_are_symmetric_around_mid_grey() -> None:
    model = nn.Conv2d(3, 2, 2, bias=False)
    with torch.no_grad():
        model.weight.zero_()
        model.weight[0, 0, 0, 0], model.weight[0, 1, 0, 1], model.weight[1, 2, 1, 1] = 2.0, -2.0, 0.5
    net = Network.open(model, (3, 4, 4))
    each, shared = (Filters(scale=scale)(net, "conv2d") for scale in ("each", "shared"))
    assert each.scale == "rgb"
    assert each.tiles[0, 0].tolist() == [[255, 128, 128], [128, 0, 128]]
    assert each.tiles[1, 1, 1].tolist() == [128, 128, 255]
    assert shared.tiles[1, 1, 1].tolist() == [128, 128, 159]  # 127.5 + 127.5 · 0.5/2
    assert each.values["limit"].tolist() == [2.0, 0.5]
    np.testing.assert_allclose(each.values["norm"], [np.sqrt(8), 0.5])
    assert each.notes == ("mid-grey is zero, white and black are ± the largest weight of each filter",)


def test_blue_green_red_networks_show_true_colours() -> None:
    model = nn.Conv2d(3, 1, 1, bias=False)
    with torch.no_grad():
        model.weight[:] = torch.tensor([1.0, 0.0, -1.0]).reshape(1, 3, 1, 1)
    seen = [Filters()(Network.open(model, (3, 4, 4), preprocess=PRESETS[p]), "conv2d").tiles[0, 0, 0].tolist()
            for p in ("imagenet", "caffe")]
    assert seen == [[255, 128, 0], [0, 128, 255]]


def test_a_filter_of_zeros_is_grey() -> None:
    model = nn.Conv2d(3, 1, 2, bias=False)
    nn.init.zeros_(model.weight)
    assert (Filters()(Network.open(model, (3, 4, 4)), "conv2d").tiles == 128).all()


def test_grey_images_and_depthwise_filters_are_signed_slices() -> None:
    model, _, net = opened("grey")
    found = Filters()(net, "conv1")
    assert found.signed
    np.testing.assert_allclose(found.tiles, weights_of(model.conv1)[:, 0])  # type: ignore[arg-type]
    depthwise = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3, groups=4))
    found = Filters()(Network.open(depthwise, (3, 6, 6)), "1")
    np.testing.assert_allclose(found.tiles, weights_of(depthwise[1])[:, 0])


def test_deeper_filters_are_summed_up_as_asked() -> None:
    model, _, net = opened("plain")
    weights = weights_of(model.conv2)  # type: ignore[arg-type]
    mean, strongest = Filters()(net, "conv2"), Filters(view="strongest", scale="shared")(net, "conv2")
    assert (mean.signed, strongest.signed, strongest.scale) == (False, True, "shared")
    np.testing.assert_allclose(mean.tiles, np.abs(weights).mean(1))
    for unit, (tile, channel) in enumerate(zip(strongest.tiles, strongest.values["channel"], strict=True)):
        lengths = [np.linalg.norm(weights[unit, c]) for c in range(6)]
        assert channel == np.argmax(lengths)
        np.testing.assert_allclose(tile, weights[unit, channel])
    assert mean.notes == ("mean of |w| over 6 input channels",)
    assert strongest.notes == ("of 6 input channels the one with the largest weights",)


def test_a_dense_layer_on_the_image_has_filters_too() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 5))
    found = Filters()(Network.open(model, (1, 4, 3)), "1")
    np.testing.assert_allclose(found.tiles, weights_of(model[1]).reshape(5, 4, 3))


def test_only_so_many_are_shown_and_that_is_said() -> None:
    found = Filters(most=5)(opened("plain")[2], "conv2")
    assert found.units == tuple(f"conv2/{u}" for u in range(5))
    assert found.notes[0] == "the first 5 of 8 units"
    one = Network.open(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1)), (3, 6, 6))
    assert Filters()(one, "1").notes[0] == "the kernels are 1×1: each tile is one number"


def test_layers_without_filters_say_so() -> None:
    _, _, net = opened("plain")
    message = "no layer with filters named 'relu1'; there are 2: 'conv1', 'conv2'; relu has no weights of its own"
    with pytest.raises(UnknownName, match=re.escape(message)):
        Filters()(net, "relu1")
    with pytest.raises(UsageError, match="fc1 is a dense layer on 128 numbers; its weights are no picture"):
        Filters()(net, "fc1")
    solid = Network.open(nn.Conv3d(1, 2, 3), (1, 1, 5, 5, 5))
    with pytest.raises(UsageError, match="the filters of conv3d have three axes"):
        Filters()(solid, "conv3d")
    line = Network.open(nn.Sequential(nn.Conv1d(1, 2, 3)), torch.zeros(1, 1, 9))
    assert Filters()(line, "0").tiles.shape == (2, 1, 3)
