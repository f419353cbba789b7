"""A spectrum is the kernel's discrete Fourier transform, squared; its numbers are those of known patterns.

Turns red: in `features/spectrum.py`, `mean(-2 * x * y)` -> `mean(2 * x * y)`.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from convscope.errors import UnknownName, UsageError
from convscope.features.spectrum import Spectrum
from convscope.network import Network
from tests.contracts.leaves import opened


def with_kernels(*kernels: np.ndarray) -> Network:
    """A convolution on one channel with these kernels."""
    model = nn.Conv2d(1, len(kernels), kernels[0].shape, bias=False)
    with torch.no_grad():
        model.weight[:] = torch.from_numpy(np.stack(kernels))[:, None]
    return Network.open(model.double(), torch.zeros(1, 1, 32, 32, dtype=torch.float64))


def slow(kernels: np.ndarray, size: int) -> np.ndarray:
    """(n, n) power of one filter (C, h, w), frequency by frequency."""
    found = np.zeros((size, size))
    for a in range(size):
        for b in range(size):
            fy, fx = (a - size // 2) / size, (b - size // 2) / size
            for kernel in kernels:
                total = sum(v * np.exp(-2j * np.pi * (fy * i + fx * j)) for (i, j), v in np.ndenumerate(kernel))
                found[a, b] += abs(total) ** 2
    return found


def test_it_is_the_definition_frequency_by_frequency() -> None:
    model, _, net = opened("plain")
    found = Spectrum(points=9)(net, "conv2")
    weights = model.conv2.weight.detach().double().numpy()  # type: ignore[union-attr,operator]
    for unit in (0, 7):
        np.testing.assert_allclose(found.tiles[unit], slow(weights[unit], 9), rtol=1e-9)
    np.testing.assert_allclose(found.tiles.mean((1, 2)), (weights**2).sum((1, 2, 3)))  # Parseval


def test_stripes_stand_where_their_frequency_is() -> None:
    i, j = np.indices((15, 15))
    turned = [np.cos(2 * np.pi * 0.2 * (j * np.cos(t) - i * np.sin(t))) for t in np.radians([0, 30, 90, 150])]
    values = Spectrum(points=63)(with_kernels(*turned), "conv2d").values
    off = (values["orientation"] - np.array([0, 30, 90, 150]) + 90) % 180 - 90
    assert np.abs(off).max() < 2
    np.testing.assert_allclose(values["centroid"], 0.2, atol=0.02)
    assert (values["coherence"] > 0.75).all()
    assert (values["corners"] < 0.02).all()


def test_a_chequerboard_is_told_from_white_noise_and_from_a_blur() -> None:
    i, j = np.indices((7, 7))
    dot = np.zeros((7, 7))
    dot[3, 3] = 1.0
    values = Spectrum(points=101)(with_kernels(1.0 - 2.0 * ((i + j) % 2), dot, np.ones((7, 7))), "conv2d").values
    assert values["corners"][0] > 0.9
    flat = [values[name][1] for name in ("high", "corners", "centroid")]
    np.testing.assert_allclose(flat, [0.80, 0.25, 0.3826], atol=0.01)
    assert values["coherence"][1] < 1e-9
    assert values["high"][2] < 0.15
    found = Spectrum()(with_kernels(1.0 - 2.0 * ((i + j) % 2), dot), "conv2d")
    assert "1 of 2 filters have over half of their power in the corners (white noise: a quarter)" in found.notes


def test_a_filter_of_zeros_has_no_frequency() -> None:
    values = Spectrum()(with_kernels(np.zeros((3, 3)), np.ones((3, 3))), "conv2d").values
    assert all(np.isnan(v[0]) and not np.isnan(v[1]) for v in values.values())


def test_zero_stands_in_the_middle_whatever_the_size_and_one_unit_may_be_asked() -> None:
    net = with_kernels(np.ones((4, 6)), np.ones((4, 6)))
    found = Spectrum(points=8)(net, "conv2d/1")
    assert found.tiles.shape == (1, 9, 9)
    assert np.unravel_index(found.tiles[0].argmax(), (9, 9)) == (4, 4)
    assert found.units == ("conv2d/1",)
    assert Spectrum(points=5)(with_kernels(np.ones((12, 9))), "conv2d").tiles.shape == (1, 13, 13)
    assert Spectrum(most=1)(net, "conv2d").notes[0] == "the first 1 of 2 units"


def test_what_has_no_pattern_is_refused() -> None:
    with pytest.raises(UsageError, match=r"kernels of conv2d are 1×1; too small to hold a pattern; .* at least 2×2"):
        Spectrum()(Network.open(nn.Conv2d(3, 2, 1), (3, 4, 4)), "conv2d")
    with pytest.raises(UnknownName, match="no layer with filters named 'relu1'"):
        Spectrum()(opened("plain")[2], "relu1")
    with pytest.raises(UnknownName, match="no unit 6 in conv1"):
        Spectrum()(opened("plain")[2], "conv1/6")
