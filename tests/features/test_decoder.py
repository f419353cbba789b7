"""The decoder: shapes on every kind of representation, a layer that is the image learned, held out from training.

Turns red: in `features/decoder.py`, `phi[:train], images[:train]` -> `phi, images` · in `features/_upconv.py`,
`self.biases[-1] += 0.5` -> `self.biases[-1] += 0`.
"""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from convscope import data, likeness
from convscope.errors import Cancelled, DataError, UsageError
from convscope.features import _upconv
from convscope.features._given import Given
from convscope.features._upconv import Training, UpConv
from convscope.features.decoder import Decoder
from convscope.network import Network
from tests.contracts.leaves import opened, same
from tests.traces import unchanged

DIGITS = data.open_collection("digits")


def digits(count: int) -> Given:
    return Given(images=lambda i: DIGITS[i], count=count)


@pytest.fixture(scope="module")
def reader() -> tuple[nn.Module, Network]:
    """A network on digits whose first layer is the image, and whose last holds its mean only."""
    model = nn.Sequential(OrderedDict(same=nn.Conv2d(1, 1, 1), mean=nn.AdaptiveAvgPool2d(1))).eval()
    nn.init.ones_(model.same.weight)
    nn.init.zeros_(model.same.bias)
    return model, Network.open(model, (1, 8, 8))


@pytest.mark.parametrize(("shape", "out"), [((5, 4, 3), (3, 16, 12)), ((5, 4, 4), (1, 29, 30)), ((7,), (1, 8, 8)),
                                            ((7,), (3, 20, 14)), ((6, 1, 1), (1, 9, 9)), ((2, 8, 8), (1, 8, 8)),
                                            ((2, 9, 9), (1, 8, 8))])
def test_it_comes_out_at_the_images_size(shape: tuple[int, ...], out: tuple[int, ...]) -> None:
    decoder = UpConv(shape, out, 32, torch.Generator().manual_seed(0))
    made = decoder(torch.randn(2, *shape, generator=torch.Generator().manual_seed(1)))
    assert tuple(made.shape) == (2, *out)
    assert decoder.sizes[-1] == out[1:]
    assert abs(float(made.mean()) - 0.5) < 1  # it starts around mid-grey
    with torch.no_grad():
        for weight in decoder.weights:
            weight.zero_()
    assert (decoder(torch.zeros(1, *shape)) == 0.5).all()


def test_held_out_digits_come_back_where_the_layer_is_the_image(reader: tuple[nn.Module, Network]) -> None:
    model, net = reader
    with unchanged(model):
        whole, mean = (Decoder(steps=300, width=32)(net, layer, digits(200)) for layer in ("same", "mean"))
    count = 8
    original, decoded = whole.tiles[:count], whole.tiles[count:]
    assert whole.values["psnr"][count:].mean() > 18 > mean.values["psnr"][count:].mean()
    assert whole.values["floor"][count:].mean() < 14
    assert [whole.values[k][0] for k in ("psnr", "ssim", "explained", "error")] == [np.inf, 1, 1, 0]
    for i in range(count):  # numbers are those of the tiles, and the tiles those of the collection
        number = int(whole.units[i].removeprefix("original "))
        np.testing.assert_array_equal(original[i, :, :, :1], DIGITS[number])
        assert whole.values["psnr"][count + i] == pytest.approx(likeness.psnr(original[i], decoded[i]))
        error = ((decoded[i].astype(float) - original[i]) ** 2).sum() / (original[i].astype(float) ** 2).sum()
        assert whole.values["error"][count + i] == pytest.approx(error, rel=1e-3)  # Φ is the image
    assert whole.notes[0].startswith("held out: 40 images, PSNR ")
    assert whole.notes[1].startswith("trained on 160 images, 300 steps of 16, seed 0; squared error ")
    assert "shown: 8 of 40 images" in whole.notes


def test_what_is_held_out_changes_nothing(reader: tuple[nn.Module, Network]) -> None:
    """Decoded pictures of the other images stay the same bits when one held-out image is replaced by another."""
    method, given = Decoder(steps=3, shown=4), digits(20)
    first = method(reader[1], "same", given)
    swapped = int(first.units[0].removeprefix("original "))
    other = method(reader[1], "same", Given(images=lambda i: DIGITS[500] if i == swapped else DIGITS[i], count=20))
    assert not same(first.tiles[0], other.tiles[0])
    assert same(first.tiles[5:], other.tiles[5:])
    assert same(first, method(reader[1], "same", digits(20)))


def test_a_given_image_comes_first(reader: tuple[nn.Module, Network]) -> None:
    given = Given(image=DIGITS[900], images=lambda i: DIGITS[i], count=10)
    found = Decoder(steps=2)(reader[1], "same", given)
    assert found.units[0], found.units[3] == ("original given", "decoded given")
    np.testing.assert_array_equal(found.tiles[0][..., :1], DIGITS[900])
    assert found.notes[0].startswith("held out: 2 images")


def test_units_and_positions_can_be_decoded() -> None:
    net = opened("plain")[2]
    images = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), np.uint8)
    for target in ("conv2/3", "conv2/3@1,2", "fc1", "fc1/2"):
        found = Decoder(steps=1)(net, target, Given(images=lambda i: images[i], count=6))
        assert found.tiles.shape == (2, 16, 16, 3)


def test_the_clock_stops_it_and_that_is_said(reader: tuple[nn.Module, Network], monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter(range(0, 600, 20))
    monkeypatch.setattr(_upconv.time, "monotonic", lambda: float(next(times)))
    found = Decoder(steps=50, minutes=1)(reader[1], "same", digits(10))
    assert "stopped after 1 minutes, at step 3 of 50: another run may stop elsewhere" in found.notes


def test_training_can_be_stopped_and_leaves_no_gradients() -> None:
    decoder = UpConv((2,), (1, 8, 8), 16, torch.Generator().manual_seed(0))

    def stop(step: int, loss: float) -> None:
        raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        decoder.fit(torch.arange(8.0).reshape(4, 2), torch.zeros(4, 1, 8, 8), Training(5, 2, 0.01, 0), stop)
    assert not any(p.requires_grad or p.grad is not None for p in decoder.parameters)


def test_it_needs_images(reader: tuple[nn.Module, Network]) -> None:
    with pytest.raises(UsageError, match="a decoder is trained on images; 0 were given; give a collection of at least two"):
        Decoder()(reader[1], "same")

    def broken(i: int) -> np.ndarray:
        raise DataError("broken")

    with pytest.raises(DataError, match="a decoder is trained on images; 0 of 3 can be read; look at the skipped images"):
        Decoder()(reader[1], "same", Given(images=broken, count=3))
