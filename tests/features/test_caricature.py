"""Caricatures: the score written out, what it comes to on a small network, and what is refused.

Turns red: in `caricature.py`, `along / (b @ b)` -> `along`; `clamp(min=LEAST)` -> `clamp(min=0)`.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from convscope.errors import UsageError
from convscope.features._given import Given
from convscope.features.caricature import Alike, Caricature
from convscope.images import Preprocess
from convscope.network import Network
from convscope.synthesis.objective import Place, Seen
from tests.nets import NETS
from tests.traces import unchanged


def network() -> tuple[nn.Module, Network]:
    model, x = NETS["plain"]()
    return model, Network.open(model, x, preprocess=Preprocess((16, 16), "stretch"))


def image(h: int = 20, w: int = 24) -> Given:
    y, x = np.mgrid[:h, :w]
    return Given(image=np.stack([10 * y, 10 * x, 255 * ((x // 4 + y // 4) % 2)], 2).clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize("power", [0.0, 1.0, 3.0])
def test_the_score_is_what_the_formula_says(power: float) -> None:
    net = network()[1]
    a, b = torch.randn(3, 8, 5, 4), torch.randn(8, 5, 4)
    a[0], a[1] = b, -2 * b
    found = Alike("conv2", b, power).score(Seen((net,), {Place(0, "conv2"): a}, (16, 16)))
    for one, score in zip(a.double().numpy(), found, strict=True):
        dot = sum(float(u * v) for u, v in zip(one.ravel(), b.double().numpy().ravel(), strict=True))
        cosine = dot / np.sqrt((one**2).sum() * float((b.double() ** 2).sum()))
        wanted = dot / float((b.double() ** 2).sum()) * max(0.1, cosine) ** power
        assert abs(float(score) - wanted) < 1e-5
    assert abs(float(found[0]) - 1) < 1e-6


@pytest.mark.parametrize("layer", ["conv1", "relu1", "fc1"])
def test_it_points_where_the_image_points_and_further(layer: str) -> None:
    module, net = network()
    with unchanged(module):
        found = Caricature(steps=64)(net, layer, image())
        again = Caricature(steps=64)(net, layer, image())
        noise = Caricature(steps=1)(net, layer, image())
    assert found.units == ("image", "caricature")
    assert found.tiles.shape == (2, 16, 16, 3)
    np.testing.assert_allclose([found.values["cosine"][0], found.values["strength"][0]], 1, atol=1e-6)
    assert found.values["cosine"][1] > max(0.5, noise.values["cosine"][1])
    assert found.values["strength"][1] > 1
    np.testing.assert_array_equal(found.tiles, again.tiles)


def test_the_numbers_are_of_the_pictures_as_shown() -> None:
    module, net = network()
    found = Caricature(steps=8)(net, "conv2", image())
    with torch.no_grad():
        b, a = module[:4](torch.from_numpy(found.tiles).permute(0, 3, 1, 2) / 255).flatten(1).double()
    np.testing.assert_allclose(found.values["cosine"][1], float(a @ b / a.norm() / b.norm()), rtol=1e-4)
    np.testing.assert_allclose(found.values["strength"][1], float(a @ b / (b @ b)), rtol=1e-4)


def test_more_power_keeps_closer() -> None:
    net = network()[1]
    free, close = (Caricature(steps=64, power=p)(net, "conv2", image()).values for p in (0.0, 4.0))
    assert close["cosine"][1] > free["cosine"][1]
    assert close["strength"][1] < free["strength"][1]


def test_frames_tell_the_way() -> None:
    found = Caricature(steps=10, frames=4)(network()[1], "conv2", image())
    assert found.units == ("image", "step 3", "step 6", "step 9", "caricature")
    assert "4 frames, one each 3 steps" in found.notes
    plain = Caricature(steps=10)(network()[1], "conv2", image())
    np.testing.assert_array_equal(found.tiles[[0, -1]], plain.tiles)


def test_what_has_no_caricature_is_refused_in_words() -> None:
    net = network()[1]
    with pytest.raises(UsageError, match=r"a caricature needs an image; none was given; give one: --image FILE"):
        Caricature()(net, "conv2")
    with pytest.raises(UsageError, match=r"a caricature by 'conv2/3'; it is made by a whole layer; ask 'conv2'"):
        Caricature()(net, "conv2/3", image())
    dead = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU())
    nn.init.constant_(dead[0].bias, -1e6)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"a caricature by 1; all its values are zero for this photograph; try"):
        Caricature()(Network.open(dead, (3, 20, 24)), "1", image())
