"""Inversion: priors against loops, an invertible layer rebuilt, errors of what is shown recomputed with the module itself.

Turns red: in `features/_natural.py`, `return squares.mean() if beta == 2` -> `return squares[..., :-1, :-1].mean() if …` ·
in `features/inversion.py`, `return quantised(scale.shown(c).clamp(0, 1))` -> `return scale.shown(c).clamp(0, 1)`.
"""

from __future__ import annotations

import math
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from convscope.errors import Cancelled, DataError, ShapeError, UsageError
from convscope.features._descending import Descent
from convscope.features._given import Given
from convscope.features._natural import RANGE_WEIGHT, magnitude, scale_of, variation, within
from convscope.features.inversion import Inversion
from convscope.images import PRESETS, Preprocess, sized
from convscope.network import Network
from tests.contracts.leaves import opened, same
from tests.traces import unchanged

RNG = np.random.default_rng(0)


def smooth_image(h: int, w: int, c: int) -> np.ndarray:
    """Waves, one a channel."""
    y, x = np.mgrid[:h, :w]
    waves = [127 + 90 * np.sin(0.5 * y + 0.3 * k * x + k) for k in range(1, c + 1)]
    return np.rint(np.stack(waves, 2)).astype(np.uint8)


def slow_variation(c: np.ndarray, beta: float) -> float:
    """Equation 4, entry by entry; a difference beyond the border is zero."""
    total = 0.0
    for channel in c.reshape(-1, *c.shape[-2:]):
        for i in range(channel.shape[0]):
            for j in range(channel.shape[1]):
                right = channel[i, j + 1] - channel[i, j] if j + 1 < channel.shape[1] else 0.0
                down = channel[i + 1, j] - channel[i, j] if i + 1 < channel.shape[0] else 0.0
                total += (right**2 + down**2) ** (beta / 2)
    return total / c.size


@pytest.mark.parametrize("beta", [1.0, 2.0, 3.0])
def test_variation_counts_every_difference(beta: float) -> None:
    c = RNG.normal(size=(1, 2, 4, 5))
    assert float(variation(torch.tensor(c), beta)) == pytest.approx(slow_variation(c, beta), rel=1e-6)


def test_the_last_row_and_column_count() -> None:
    c = torch.zeros(1, 1, 3, 3)
    c[0, 0, 2, 2] = 1.0  # its two neighbours lie in the last row and in the last column
    assert float(variation(c, 2)) == pytest.approx(2 / 9)


def test_the_weights_are_the_papers_at_its_own_size() -> None:
    """The paper: an image of norm about 1, sums; here: its entries times √D, means."""
    size = (1, 3, 224, 224)
    x = torch.tensor(RNG.normal(size=size)) / math.sqrt(math.prod(size))
    c = x * math.sqrt(math.prod(size))
    assert float(RANGE_WEIGHT * magnitude(c, 6)) == pytest.approx(2.16e8 * float((x**6).sum()), rel=1e-9)
    down, right = x.diff(dim=2).square().sum(), x.diff(dim=3).square().sum()
    assert float(variation(c, 2)) == pytest.approx(float(down + right), rel=1e-9)


def test_what_is_read_is_turned_back() -> None:
    image = smooth_image(6, 7, 3)
    for preprocess in (PRESETS["unit"], Preprocess(mean=(104.0, 117.0, 123.0), range=255.0, channels="BGR"),
                       Preprocess(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))):
        fitting = sized(preprocess, (3, 6, 7))
        back = within(fitting, torch.from_numpy(np.ascontiguousarray(fitting(image)))[None])
        assert (back[0] * 255).round().byte().numpy().transpose(1, 2, 0).tolist() == image.tolist()


def test_spread_is_that_of_the_collection() -> None:
    preprocess = sized(Preprocess(mean=(0.25,), channels="L"), (1, 2, 2))
    shown = {0: 255, 1: 0}

    def image(i: int) -> np.ndarray:
        if i == 2:
            raise DataError("broken")
        return np.full((2, 2, 1), shown[i], np.uint8)

    found = scale_of(preprocess, Given(images=image, count=3), torch.zeros(1, 1, 2, 2), 0)
    assert found.spread == pytest.approx(math.sqrt((0.75**2 + 0.25**2) / 2))
    assert (float(found.mean), found.source) == (0.25, "σ: of 2 images, drawn with seed 0")
    alone = scale_of(preprocess, Given(), torch.ones(1, 1, 2, 2), 0)
    assert (alone.spread, alone.source) == (0.75, "σ: of this image, for no others were given")
    with pytest.raises(DataError, match="how bright images are; none of 1 can be read; look at the skipped images"):
        scale_of(preprocess, Given(images=lambda i: image(2), count=1), torch.zeros(1, 1, 2, 2), 0)


@pytest.mark.parametrize("search", ["fourier", "adam", "l-bfgs", "momentum"])
def test_every_search_finds_the_lowest_point_of_a_bowl(search: str) -> None:
    """E = mean (c − ½)², no prior: the box does not touch, so the minimum is ½ everywhere."""
    goal = torch.full((1, 1, 3, 3), 0.5)
    one = torch.ones_like(goal)
    steps: list[int] = []
    descent = Descent(lambda c: (c - goal).square().mean(), lambda c: c.sum() * 0, -one, one, True, steps.append)
    found = descent(torch.zeros_like(goal), search, 100, 0.1)
    np.testing.assert_allclose(found, 0.5, atol=0.01)
    assert steps == list(range(1, len(steps) + 1))
    assert not found.requires_grad


@pytest.mark.parametrize("search", ["fourier", "adam", "l-bfgs"])
def test_values_stay_between_black_and_white(search: str) -> None:
    one = torch.ones(1, 1, 2, 2)
    descent = Descent(lambda c: (c - 3).square().mean(), lambda c: c.sum() * 0, -one, one, True, lambda step: None)
    assert descent(torch.zeros_like(one), search, 60, 0.1).tolist() == one.tolist()


def test_priors_follow_the_error_or_stay() -> None:
    one = torch.ones(1, 1, 2, 2)
    for fade, weight in ((True, 0.0), (False, 1.0)):
        descent = Descent(lambda c: (c - 0.5).square().mean(), lambda c: c.sum() * 0, -one, one, fade, lambda step: None)
        descent(torch.zeros_like(one), "adam", 100, 0.1)
        assert descent.weight == pytest.approx(weight, abs=1e-3)


@pytest.fixture(scope="module")
def invertible() -> tuple[nn.Module, Network]:
    """A convolution that keeps all of the image, then poolings that do not."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = nn.Sequential(OrderedDict(conv=nn.Conv2d(3, 16, 3, padding=1), relu=nn.ReLU(), pool=nn.MaxPool2d(2),
                                          last=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), fc=nn.Linear(16, 4))).eval()
    return model, Network.open(model, (3, 16, 12))


def test_the_first_layer_is_nearly_without_loss_and_depth_loses(invertible: tuple[nn.Module, Network]) -> None:
    model, net = invertible
    image = smooth_image(16, 12, 3)
    with unchanged(model):
        first, pooled, last = (Inversion(steps=150)(net, layer, Given(image)).values for layer in ("conv", "pool", "last"))
    assert first["psnr"][1] > 40
    assert first["error"][1] < 1e-3 * first["start"][1]
    assert first["psnr"][1] > pooled["psnr"][1] > last["psnr"][1]
    assert first["ssim"][1] > pooled["ssim"][1] > last["ssim"][1]
    assert (first["psnr"][0], first["error"][0], first["explained"][0]) == (math.inf, 0.0, 1.0)


@pytest.mark.parametrize(("target", "part"),
                         [("conv", np.s_[:]), ("conv/3", np.s_[:, 3]), ("conv/3@5,7", np.s_[:, 3, 5, 7])])
def test_the_error_is_that_of_the_picture_as_shown(invertible: tuple[nn.Module, Network], target: str, part: object) -> None:
    """Recomputed with the user's own modules, from the tiles."""
    model, net = invertible
    found = Inversion(steps=5)(net, target, Given(smooth_image(16, 12, 3)))
    x = torch.from_numpy(found.tiles.transpose(0, 3, 1, 2).copy()).float() / 255
    with torch.no_grad():
        image, picture = model[:1](x).double()[part]  # type: ignore[index]
    again = float((picture - image).square().sum() / image.square().sum())
    assert found.values["error"][1] == pytest.approx(again, rel=1e-4)


def test_starts_do_not_depend_on_each_other_and_say_how_far_they_agree(invertible: tuple[nn.Module, Network]) -> None:
    net, image = invertible[1], smooth_image(16, 12, 3)
    one, two = (Inversion(steps=5, starts=n)(net, "last", Given(image)) for n in (1, 2))
    assert same(one.tiles, two.tiles[:2])
    assert not same(two.tiles[1], two.tiles[2])
    assert one.notes[1] == "one start: another may end elsewhere"
    assert two.notes[1].startswith("the 2 starts agree within ")
    assert one.notes[0] == "Φ holds 16 numbers, the image 576: it cannot determine it"
    assert not same(one.tiles, Inversion(steps=5, seed=1)(net, "last", Given(image)).tiles)


def test_it_can_be_stopped(invertible: tuple[nn.Module, Network]) -> None:
    model, net = invertible
    seen: list[tuple[int, int]] = []

    def report(done: int, total: int, what: str) -> None:
        seen.append((done, total))
        if done == 3:
            raise Cancelled("stopped")

    with unchanged(model), pytest.raises(Cancelled):
        Inversion(steps=4, starts=2)(net, "pool", Given(smooth_image(16, 12, 3), progress=report))
    assert seen == [(1, 8), (2, 8), (3, 8)]


def test_what_cannot_be_inverted_is_refused() -> None:
    net = opened("plain")[2]
    with pytest.raises(UsageError, match="an inversion needs an image; none was given"):
        Inversion()(net, "conv1")
    dead = nn.Sequential(OrderedDict(conv=nn.Conv2d(1, 2, 1), relu=nn.ReLU(), whole=Whole()))
    nn.init.constant_(dead.conv.weight, -1.0)
    nn.init.constant_(dead.conv.bias, -1.0)
    shut = Network.open(dead, (1, 4, 4))
    image = smooth_image(4, 4, 1)
    with pytest.raises(DataError, match=r"holds of this image cannot be inverted; all of it is zero; give another image"):
        Inversion()(shut, "relu", Given(image))
    counts = next(layer.address for layer in shut.layers if "arg" in layer.operator)
    with pytest.raises(ShapeError, match=r"cannot be inverted; its output is torch\.int64; choose a layer of real numbers"):
        Inversion()(shut, counts, Given(image))
    nn.init.constant_(dead.conv.bias, math.inf)
    with pytest.raises(DataError, match=r"it has NaN or infinite values; look for where they arise"):
        Inversion()(Network.open(dead, (1, 4, 4)), "conv", Given(image))


class Whole(nn.Module):
    """Gives whole numbers."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.argmax(1) + 1
