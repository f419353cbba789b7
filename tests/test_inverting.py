"""What is lost at each layer: which layers are asked, numbers beside the pictures, errors passed on.

Turns red: in `inverting.py`, `np.argmin(made.values["error"][1:])` -> `np.argmax(…)` · `pending = True` after a layer that
shrinks -> `pending = False`.
"""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from convscope.errors import UnknownName, UsageError
from convscope.features._given import Given
from convscope.features.inversion import Inversion
from convscope.inverting import inverted_depth, turning_points
from convscope.network import Network
from tests.contracts.leaves import opened, same
from tests.features.test_inversion import smooth_image
from tests.traces import unchanged


@pytest.mark.parametrize(("name", "layers"), [
    ("plain", ["conv1", "pool1", "conv2", "pool2", "fc1", "fc2"]),
    ("reused_relu", ["conv1", "conv2", "fc2"]),
])
def test_the_layers_that_shrink_and_the_first_after_each(name: str, layers: list[str]) -> None:
    assert [layer.address for layer in turning_points(opened(name)[2])] == layers


def test_numbers_and_pictures_are_those_of_the_inversions() -> None:
    model, x, net = opened("plain")
    image, parameters = smooth_image(16, 16, 3), {"steps": 10, "starts": 2}
    told: list[tuple[int, int, str]] = []
    with unchanged(model, x):
        found = inverted_depth(net, image, ["conv1", "pool2"], parameters=parameters,
                               progress=lambda *news: told.append(news))
    assert found.table.columns["layer"].tolist() == ["conv1", "pool2"]
    assert found.table.columns["numbers"].tolist() == [6 * 16 * 16, 8 * 4 * 4]
    assert told[0] == (1, 40, "steps, conv1")
    assert told[-1] == (40, 40, "steps, pool2")
    assert found.strip.units == ("image", "conv1", "pool2")
    np.testing.assert_array_equal(found.strip.tiles[0], image)
    for row, layer in enumerate(("conv1", "pool2")):
        alone = Inversion(**parameters)(net, layer, Given(image))
        best = 1 + int(alone.values["error"][1:].argmin())
        assert same(found.strip.tiles[row + 1], alone.tiles[best])
        for name in ("error", "start", "psnr", "ssim", "explained"):
            assert found.table.columns[name][row] == alone.values[name][best] == found.strip.values[name][row + 1]
    assert found.table.notes[-1].startswith("deep layers do not determine an image")


def test_a_layer_of_zeros_is_named_and_left_out() -> None:
    model = nn.Sequential(OrderedDict(conv=nn.Conv2d(1, 2, 1), relu=nn.ReLU()))
    with torch.no_grad():
        model.conv.weight.fill_(-1.0)
        model.conv.bias.fill_(-1.0)
    net = Network.open(model, (1, 4, 4))
    found = inverted_depth(net, smooth_image(4, 4, 1), ["conv", "relu"], parameters={"steps": 2})
    assert found.table.columns["layer"].tolist() == ["conv"]
    assert found.table.notes[0].startswith("left out: what relu holds of this image cannot be inverted; all of it is zero")
    with pytest.raises(UsageError, match=r"to rebuild an image from; left out: what relu .* name the layers"):
        inverted_depth(net, smooth_image(4, 4, 1), ["relu"])
    with pytest.raises(UnknownName):
        inverted_depth(net, smooth_image(4, 4, 1), ["no such layer"])
