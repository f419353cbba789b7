"""Baselines are what they say, in the network's own units.

Mutation that turns it red: in `attributions/_baseline.py`, `-mean / std` -> `mean / std`.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from convscope.attributions._baseline import BASELINES, baseline, blurred, pixel_range
from convscope.errors import UsageError
from convscope.images import PRESETS
from convscope.network import Network
from tests.contracts.leaves import opened


def test_in_pixels_they_are_black_grey_and_the_presets_mean() -> None:
    model, x, _ = opened("plain")
    net = Network.open(model, x, preprocess=PRESETS["imagenet"])
    inverse = PRESETS["imagenet"].inverse
    for name, pixel in (("black", [0, 0, 0]), ("grey", [128, 128, 128]), ("zero", [124, 116, 104])):
        found, said = baseline(net, x, name)
        assert found.shape == x.shape
        assert (np.abs(inverse(found.numpy()).astype(int) - pixel) <= 1).all()
        assert said
    assert baseline(net, x, "zero")[1] == "zeros in the network's units = pixels 124, 116, 104"
    assert baseline(net, x, "black")[1] == "black pixels (-2.12, -2.04, -1.8 in the network's units)"
    low, high, said = pixel_range(net, x[0])
    torch.testing.assert_close(low, torch.tensor([-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225]))
    torch.testing.assert_close(high - low, 1 / torch.tensor([0.229, 0.224, 0.225]))
    assert said == "the pixel range"


def test_mean_and_blur_are_the_images_own() -> None:
    _, x, net = opened("non_square")
    torch.testing.assert_close(baseline(net, x, "mean")[0], x.mean((2, 3), keepdim=True).expand_as(x))
    assert baseline(net, x, "zero") [1] == "zeros in the network's units"
    soft, said = baseline(net, x, "blur")
    assert float(soft.std()) < float(x.std())
    assert said == "the image blurred (Gaussian, σ = 0.875 px, border pixels repeated)"
    flat = torch.full((1, 2, 6, 5), 3.0)
    torch.testing.assert_close(blurred(flat, 2.0), flat)
    spot = torch.zeros(1, 1, 21, 21, dtype=torch.float64)
    spot[0, 0, 10, 10] = 1
    found = blurred(spot, 1.0)[0, 0]
    assert float(found.sum()) == pytest.approx(1)
    assert float(found[10, 12] / found[10, 10]) == pytest.approx(np.exp(-2))
    assert float(found[8, 10]) == pytest.approx(float(found[10, 12]))


def test_without_preprocessing_the_pixel_range_is_not_known() -> None:
    _, x, net = opened("plain")
    for name in ("black", "grey"):
        with pytest.raises(UsageError, match=f"baseline='{name}' needs to know the pixel range; plain was opened without"):
            baseline(net, x, name)
    low, high, said = pixel_range(net, x[0])
    assert (float(low[0]), float(high[2])) == (float(x[0].min()), float(x[0].max()))
    assert said.startswith("the image's own range")
    assert set(BASELINES) == {"zero", "black", "grey", "mean", "blur"}
