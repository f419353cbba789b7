"""What the mechanics page is given: put together again, it must be autograd's number everywhere.

Mutations that turn these red, tried one by one: `rest_of_filter[:, c] = 0` left out (test_a_convolution…);
`if f != k` left out of the filters (test_a_convolution…); `inner if inner is not None` -> `k` (test_other…).
"""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import convscope as cs
from convscope.errors import UnknownName
from convscope.mechanics.capture import Capture
from convscope.mechanics.loss import Loss
from convscope.mechanics_maps import Worked, chosen, encode, layer_maps


def worked(layer: nn.Module, *size: int, address: str = "0") -> Worked:
    """The first layer of a small network, on random numbers."""
    torch.manual_seed(3)
    x = torch.randn(1, *size)
    width = int(layer(x).flatten(1).shape[1])
    net = cs.open(nn.Sequential(layer, nn.Tanh(), nn.Flatten(), nn.Linear(width, 4)), example=x)
    kept = Capture(net, x, Loss(labels=(2,)))
    call = kept.call(net[address])
    delta = kept.output_delta(call)
    y, gradients = kept.autograd(call, delta)
    return Worked(address, call, kept.arrays(call), y.detach().numpy(), delta, gradients)


def gathered(page: dict[str, Any], i: int, j: int) -> Any:
    """The window of output (i, j) in the shown channel, zeros in the padding."""
    x = page["maps"]["x"]
    inside = lambda y, z: 0 <= y < x.shape[0] and 0 <= z < x.shape[1]  # noqa: E731
    return np.array([[x[y, z] if inside(y, z) else 0.0 for z in page["columns"][j]] for y in page["rows"][i]])


@pytest.mark.parametrize("layer", [
    nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 2)),
    nn.Conv2d(4, 6, 3, groups=2, padding="same"),
    nn.Conv2d(4, 4, 3, groups=4, bias=False),
    nn.Conv2d(4, 1, 2, padding=1),
], ids=["strided", "grouped", "depthwise", "one filter"])  # fmt: skip
def test_a_convolution_can_be_put_together_again(layer: nn.Module) -> None:
    found = worked(layer, 4, 7, 6)
    for k, c in [(0, 0), (found.y.shape[1] - 1, found.arrays[1].shape[1] - 1)]:
        page = layer_maps(found, k, c)
        maps = page["maps"]
        gradient, back = np.zeros_like(maps["dw"]), np.zeros_like(maps["dx"])
        for i, j in np.ndindex(*maps["y"].shape):
            window = gathered(page, i, j)
            rest = 0.0 if maps["others"] is None else maps["others"][i, j]
            value = (window * maps["kernel"]).sum() + rest + (page["bias"] or 0.0)
            assert value == pytest.approx(maps["y"][i, j], abs=1e-12)
            gradient += window * maps["delta"][i, j]
            for (t, y), (u, z) in ((a, b) for a in enumerate(page["rows"][i]) for b in enumerate(page["columns"][j])):
                if 0 <= y < back.shape[0] and 0 <= z < back.shape[1]:
                    back[y, z] += maps["delta"][i, j] * maps["kernel"][t, u]
        np.testing.assert_allclose(gradient, maps["dw"], atol=1e-12)
        rest = 0 if maps["others_back"] is None else maps["others_back"]
        np.testing.assert_allclose(back + rest, maps["dx"], atol=1e-12)
        assert np.array_equal(found.y[tuple(page["prefix"]["forward"])], maps["y"])
        assert np.array_equal(found.gradients[0][tuple(page["prefix"]["input"])], maps["dx"])
        assert np.array_equal(found.gradients[1][tuple(page["prefix"]["weights"])], maps["dw"])


@pytest.mark.parametrize("layer", [
    nn.MaxPool2d(3, 2, padding=1), nn.MaxPool2d(2, ceil_mode=True), nn.AdaptiveMaxPool2d((3, 2)),
    nn.AvgPool2d(3, 2, padding=1, ceil_mode=True), nn.AvgPool2d(3, 2, padding=1, count_include_pad=False),
    nn.AvgPool2d(2, divisor_override=3), nn.AdaptiveAvgPool2d((3, 2)),
], ids=str)  # fmt: skip
def test_pooling_can_be_put_together_again(layer: nn.Module) -> None:
    page = layer_maps(worked(layer, 2, 7, 5), 1, None)
    maps = page["maps"]
    for i, j in np.ndindex(*maps["y"].shape):
        inside = [maps["x"][y, z] for y in page["rows"][i] for z in page["columns"][j] if 0 <= y < 7 and 0 <= z < 5]
        value = sum(inside) / maps["divisor"][i, j] if page["mean"] else max(inside)
        assert value == pytest.approx(maps["y"][i, j], abs=1e-12)


def test_a_dense_layer_sends_all_its_weights_or_a_row_and_a_column() -> None:
    small, large = layer_maps(worked(nn.Linear(9, 5), 9), 3, 7), layer_maps(worked(nn.Linear(400, 300), 400), 3, 7)
    maps = small["maps"]
    assert maps["weight"].shape == (5, 9)
    assert large["maps"]["weight"] is None
    np.testing.assert_array_equal(maps["row"], maps["weight"][3])
    np.testing.assert_array_equal(maps["column"], maps["weight"][:, 7])
    np.testing.assert_allclose(maps["weight"] @ maps["x"] + maps["biases"], maps["y"], atol=1e-12)
    np.testing.assert_allclose(maps["weight"].T @ maps["delta"], maps["dx"], atol=1e-12)
    np.testing.assert_allclose(maps["delta"][3] * maps["x"], maps["dw"], atol=1e-12)


def test_other_operations_show_maps_to_choose_from() -> None:
    norm = layer_maps(worked(nn.BatchNorm2d(3).eval(), 3, 4, 4), 2, None)
    assert (norm["kind"], norm["channel"], norm["inner"], norm["inners"]) == ("lines", 2, 2, None)
    assert norm["prefix"] == {"forward": [0, 2], "input": [0, 2], "weights": []}
    assert norm["maps"]["dw"].shape == (3,)
    for c in range(3):
        flat = layer_maps(worked(nn.Flatten(), 3, 4, 4), None, c)
        assert (flat["channel"], flat["inner"], flat["inners"]) == (None, c, 3)
    assert flat["maps"]["y"].shape == (48,)
    assert flat["maps"]["dw"] is None
    volume = layer_maps(worked(nn.Conv3d(1, 2, 2), 1, 3, 3, 3), None, None)
    assert (volume["kind"], volume["maps"]["y"]) == ("lines", None)


def test_numbers_survive_the_way_to_the_browser() -> None:
    values = np.array([[0.1, -2.5], [3e-9, 1e30]])
    sent = encode(values)
    assert sent["shape"] == [2, 2]
    np.testing.assert_array_equal(np.frombuffer(base64.b64decode(sent["data"]), "<f8").reshape(2, 2), values)
    single = np.frombuffer(base64.b64decode(encode(values, single=True)["data"]), "<f4")
    np.testing.assert_array_equal(single, values.astype("<f4").reshape(-1))


def test_the_strongest_is_chosen_and_a_missing_one_is_told() -> None:
    assert chosen(None, np.array([1.0, 5.0, 2.0]), "filter", "conv1") == 1
    with pytest.raises(UnknownName, match=r"no filter 3 in conv1; there are 3; use 0 … 2"):
        chosen(3, np.array([1.0, 5.0, 2.0]), "filter", "conv1")
