"""A layer or a span applied backwards, as a network: against autograd, kept and opened, and its errors.

Turns red: in `edits/invert.py`, `(i, size[axis - 1] - i - 1)` -> `(i, size[axis - 1] - i)`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import convscope as cs
from convscope.editing import parts
from convscope.errors import UsageError
from convscope.network import Network
from tests.nets import NETS
from tests.traces import unchanged


@pytest.fixture(scope="module")
def plain() -> tuple[Any, Tensor, Network]:
    model, x = NETS["plain"]()
    model, x = model.double(), x.double()
    return model, x, cs.open(model, example=x)


def upto_relu2(model: Any, x: Tensor) -> Tensor:
    return model.relu2(model.conv2(model.pool1(model.relu1(model.conv1(x)))))


@pytest.mark.parametrize(("signal", "unit"), [
    ("largest", "3"),
    *(pytest.param(*rest, marks=pytest.mark.slow) for rest in (("value", ""), ("ones", "3"), ("value", "3@2,5")))])
def test_back_to_the_image_is_the_gradient(plain: tuple[Any, Tensor, Network], signal: str, unit: str) -> None:
    """Of Σ y²/2, Σ y of a channel, y²/2 at one position, y²/2 where a channel is largest."""
    model, x, net = plain
    with unchanged(model, x):
        edited, receipt = cs.edit(net, "invert", upto="relu2", signal=signal, unit=unit)
    leaf = x.clone().requires_grad_()
    y = upto_relu2(model, leaf)
    losses = {("value", ""): (y**2).sum() / 2, ("ones", "3"): y[:, 3].sum(),
              ("value", "3@2,5"): (y[:, 3, 2, 5] ** 2).sum() / 2,
              ("largest", "3"): (y[:, 3].amax((1, 2)) ** 2).sum() / 2}
    loss = losses[signal, unit]
    torch.testing.assert_close(edited.run(x).output, torch.autograd.grad(loss, leaf)[0], rtol=1e-10, atol=1e-12)
    assert receipt.changes[0] == "relu2 backwards: 8×8×8 → 3×16×16"
    assert "1 MaxPool2d" in receipt.changes[1]
    assert any("this is the gradient" in note for note in receipt.notes)
    assert receipt.drift == {}


@pytest.mark.slow
def test_a_layer_a_block_a_span() -> None:
    model, x = NETS["residual"]()
    net = cs.open(model, example=x)
    cases: tuple[tuple[dict[str, Any], tuple[int, ...]], ...] = (
        ({}, (3, 16, 16)), ({"layer": "block2"}, (6, 16, 16)), ({"layer": "block2.conv2"}, (8, 8, 8)),
        ({"layer": "bn1", "upto": "block1.conv2"}, (6, 16, 16)), ({"layer": "head"}, (8, 8, 8)))
    for asked, size in cases:
        edited, receipt = cs.edit(net, "invert", **asked)
        assert tuple(edited.run(x).output.shape) == (2, *size), receipt.changes
    assert cs.edit(net, "invert")[1].changes[0].startswith("conv1 backwards")


def test_of_two_parents_each_gets_its_share() -> None:
    """Of the concatenation 3 + 3 + 2 + 2 channels: the third gets channels 6 and 7 of the value."""
    model, x = NETS["concat"]()
    net = cs.open(model, example=x)
    joined = next(layer.address for layer in net.layers if layer.operator in ("cat", "concat"))
    value = net.run(x, keep=[joined])[joined]
    edited, _ = cs.edit(net, "invert", layer=joined, parent=2)
    torch.testing.assert_close(edited.run(x).output, value[:, 6:8])
    with pytest.raises(UsageError, match=r"it reads 4: branch1.1, branch2.3, branch3.3, branch4.2; count from 0"):
        cs.edit(net, "invert", layer=joined, parent=4)


def test_the_weights_are_tied(plain: tuple[Any, Tensor, Network]) -> None:
    edited, receipt = cs.edit(plain[2], "invert", layer="conv1")
    assert edited.module is not None
    held = edited.module
    assert held.get_parameter("conv1.weight") is held.get_parameter("back.conv1.weight")
    assert receipt.after.parameters == 3 * 6 * 9 + 6


def test_the_code_gives_the_same(plain: tuple[Any, Tensor, Network]) -> None:
    """The receipt's lines, run on the user's model."""
    model, x, net = plain
    edited, receipt = cs.edit(net, "invert", upto="fc1", overlap="overwrite")
    space: dict[str, Any] = {"model": model, "x": x, "torch": torch, "F": F, "nn": torch.nn, "parts": parts, "convscope": cs}
    with torch.no_grad():
        exec(receipt.code, space)
    last = max((k for k in space if k[0] == "v" and k[1:].isdigit()), key=lambda k: int(k[1:]))
    torch.testing.assert_close(space[last], edited.run(x).output)


def test_deconvolution_pictures_cut_what_is_negative(plain: tuple[Any, Tensor, Network]) -> None:
    """Zeiler and Fergus: φ on the way back, written out; another number than the gradient."""
    model, x, net = plain
    edited, receipt = cs.edit(net, "invert", upto="relu2", nonlinear="apply", unit="1", signal="largest")
    with torch.no_grad():
        pooled, switches = F.max_pool2d(model.relu1(model.conv1(x)), 2, return_indices=True)
        y = model.relu2(model.conv2(pooled))
        v = torch.zeros_like(y)
        v[:, 1] = y[:, 1] * (y[:, 1] == y[:, 1].amax((1, 2), keepdim=True))
        v = F.conv_transpose2d(v.relu(), model.conv2.weight, padding=1)
        v = F.conv_transpose2d(F.max_unpool2d(v, switches, [2, 2]).relu(), model.conv1.weight, padding=1)
    torch.testing.assert_close(edited.run(x).output, v)
    assert any("nonlinear=apply" in note and "not the gradient" in note for note in receipt.notes)


def test_it_is_kept_opened_traced_and_trained(tmp_path: Path) -> None:
    model, x = NETS["residual"]()
    edited, _ = cs.edit(cs.open(model, example=x), "invert", upto="block1", out=tmp_path / "one")
    again = cs.open(f"{tmp_path / 'one' / 'network.py'}:network", example=x)
    assert torch.equal(again.run(x).output, edited.run(x).output)
    assert "back.conv1" in str(again.trace())
    torch.testing.assert_close(again.run(x[:1]).output, again.run(x).output[:1])  # a batch gives what singles give
    trained = again.module
    assert trained is not None
    trained.train()
    before = trained.get_buffer("bn1.running_mean").clone()
    trained(x).square().sum().backward()
    assert trained.get_parameter("conv1.weight").grad is not None
    assert not torch.equal(before, trained.get_buffer("bn1.running_mean")), "batch norm takes statistics as in the original"


def test_on_images_it_says_how_much_comes_back() -> None:
    receipt = cs.edit("zoo:lenet5", "invert", layer="conv1", data="digits")[1]
    said = next(n for n in receipt.notes if "cosine" in n)
    assert said.startswith("on 64 images:")
    assert 0 < float(said.split("average ")[1].split(";")[0]) < 1


@pytest.mark.parametrize(("asked", "message"), [
    ({"layer": "conv2", "upto": "conv1"}, "from conv2 to conv1; conv1 does not depend on conv2; name a layer that"),
    ({"upto": "conv1", "unit": "6"}, "unit 6 of conv1; its value is 6×16×16; count from 0"),
    ({"upto": "conv1", "unit": "1@3"}, "unit 1@3 of conv1; its value is 6×16×16"),
    ({"upto": "conv1", "unit": "a"}, "unit='a'; it is no channel"),
    ({"layer": "conv9"}, "no layer or block named 'conv9'; closest: 'conv2'"),
])  # fmt: skip
def test_errors(plain: tuple[Any, Tensor, Network], asked: dict[str, Any], message: str) -> None:
    with unchanged(plain[0]), pytest.raises(UsageError, match=message):
        cs.edit(plain[2], "invert", **asked)


def test_a_recurrent_network_is_refused() -> None:
    model, x = NETS["rows_lstm"]()
    with pytest.raises(UsageError, match="there is no way back through select"):
        cs.edit(cs.open(model, example=x), "invert", upto="fc")
