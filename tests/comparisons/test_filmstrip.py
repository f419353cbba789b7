"""A filmstrip by hand: which units, in which order, on which scale.

Turns red: in `comparisons/filmstrip.py`, `max((0, 2, 3, 4))[None` in `_scaled` -> a scale a tile (`max((2, 3, 4))[:, :,
None, None, None]`) · `tiles.swapaxes(0, 1)` left out · `if colours and bgr else` -> never reversed.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from convscope import draw
from convscope.comparisons.filmstrip import Filmstrip
from convscope.errors import ShapeError, UnknownName, UsageError
from convscope.images import PRESETS
from convscope.network import Network
from tests.contracts.leaves import opened


def checkpoints(*weights: np.ndarray, **facts: object) -> list[Network]:
    """One network for each (U, C, h, w)."""
    found = []
    for at, w in enumerate(weights):
        model = nn.Conv2d(w.shape[1], w.shape[0], w.shape[2:], bias=False)
        with torch.no_grad():
            model.weight.copy_(torch.from_numpy(w))
        found.append(Network.open(model, (w.shape[1], 8, 8), f"epoch-{at}", **facts))
    return found


START = np.array([[[[1.0, 0.0]]], [[[0.0, 2.0]]], [[[0.0, 0.0]]]])
END = np.array([[[[1.0, -0.5]]], [[[8.0, 0.0]]], [[[0.0, 0.25]]]])


def test_by_hand() -> None:
    found = Filmstrip()(checkpoints(START, END), "conv2d")
    assert found.units == ("conv2d/2 epoch-0", "conv2d/2 epoch-1", "conv2d/1 epoch-0", "conv2d/1 epoch-1",
                           "conv2d/0 epoch-0", "conv2d/0 epoch-1")  # what starts at zero has changed most
    assert found.tiles[:, 0].tolist() == [[0, 0], [0, 1], [0, 0.25], [1, 0], [1, 0], [1, -0.5]]
    assert (found.scale, found.signed, found.columns) == ("shared", True, 2)
    np.testing.assert_allclose(found.values["change"], [np.nan, np.nan, 0, np.sqrt(68) / 2, 0, 0.5])
    np.testing.assert_allclose(found.values["norm"], [0, 0.25, 2, 8, 1, np.sqrt(1.25)])
    assert found.values["limit"].tolist() == [0.25, 0.25, 8, 8, 1, 1]
    assert found.values["unit"].tolist() == [2, 2, 1, 1, 0, 0]
    assert found.notes == ("1 is the unit's largest |value| in its row", "change: ‖w − w₀‖/‖w₀‖ since the first")


def test_as_many_as_asked_in_the_order_asked() -> None:
    nets = checkpoints(START, END)
    assert Filmstrip(most=1)(nets, "conv2d").values["unit"].tolist() == [2, 2]
    assert Filmstrip(most=1)(nets, "conv2d").notes[0] == "the 1 most changed at the end of 3 units"
    found = Filmstrip(most=2, order="number")(nets, "conv2d")
    assert found.values["unit"].tolist() == [0, 0, 1, 1]
    assert found.notes[0] == "the 2 first of 3 units"


def test_colours_have_one_scale_over_time_and_the_right_order() -> None:
    w = np.array([1.0, 0.0, -0.5]).reshape(1, 3, 1, 1)
    for preset, first in (("imagenet", [191, 128, 96]), ("caffe", [96, 128, 191])):
        found = Filmstrip()(checkpoints(w, 2 * w, preprocess=PRESETS[preset]), "conv2d")
        assert (found.scale, found.tiles.dtype) == ("rgb", np.uint8)
        assert found.tiles[0, 0, 0].tolist() == first
        assert found.tiles[1, 0, 0].tolist() == ([255, 128, 64] if preset == "imagenet" else [64, 128, 255])


def test_of_many_channels_the_strongest_at_the_end_or_their_mean() -> None:
    start = np.array([[3.0, 0, 0, 0], [0, 1, 0, 0]]).reshape(2, 4, 1, 1)
    end = np.array([[1.0, 0, -2, 0], [0, 0, 0, 4]]).reshape(2, 4, 1, 1)
    found = Filmstrip(order="number")(checkpoints(start, end), "conv2d")
    assert found.values["channel"].tolist() == [2, 2, 3, 3]
    assert found.tiles.reshape(-1).tolist() == [0, -1, 0, 1]
    assert found.notes[0].startswith("of 4 input channels the one with the largest weights at the end; 1 is")
    means = Filmstrip(order="number", view="norm")(checkpoints(start, end), "conv2d")
    assert not means.signed
    assert means.tiles.reshape(-1).tolist() == [1, 1, 0.25, 1]


def test_rows_and_columns_are_named_once() -> None:
    figure = draw.figure(Filmstrip()(checkpoints(START, END), "conv2d"))
    words = [text.get_text() for text in figure.texts]
    heads = [text.get_text() for text in figure.texts if text.get_weight() == "bold" and text.get_fontsize() < 8]
    assert heads == ["epoch-0", "epoch-1", "conv2d/2", "conv2d/1", "conv2d/0"]
    assert "4.12" in words
    assert any(w.endswith("below each: change") for w in words)


def test_refusals() -> None:
    nets = checkpoints(START, END)
    with pytest.raises(UsageError, match="a filmstrip shows one layer; none was named; name it: --layer conv1"):
        Filmstrip()(nets, "")
    with pytest.raises(ShapeError, match=r"not the same in all networks; \(3, 1, 1, 2\) in epoch-0, \(2, 1, 1, 2\) in oth"):
        Filmstrip()([nets[0], Network.open(nn.Conv2d(1, 2, (1, 2)), (1, 8, 8), "other")], "conv2d")
    plain = opened("plain")[2]
    with pytest.raises(UnknownName, match="no layer with filters named 'relu1'"):
        Filmstrip()([plain, plain], "relu1")
