"""Dreams against the notebook's steps, a network whose dream is known, and what may go wrong.

Turns red: in `_octaves.py`, `mean = g.abs().mean()` -> `g.abs().amax()`; `align_corners=True` -> False; in `dream.py`,
`argmax(2)` -> `argmin(2)`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor, nn

from convscope.errors import Cancelled, ShapeError, UsageError
from convscope.features._given import Given
from convscope.features._octaves import Octaves, View, levels, zoom
from convscope.features.dream import Dream, Guided
from convscope.images import Preprocess
from convscope.network import Network
from convscope.synthesis.image import Reading
from convscope.synthesis.loop import generator
from convscope.synthesis.objective import Activity, Class, Place, Seen
from tests.nets import NETS
from tests.traces import unchanged


def photograph(h: int, w: int, c: int = 3, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (h, w, c), np.uint8)


def network(c: int = 3, size: int = 32, **how: Any) -> tuple[nn.Module, Network]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        first, second = nn.Conv2d(c, 6, 5, padding=2), nn.Conv2d(6, 7, 3, padding=1)
    module = nn.Sequential(first, nn.ReLU(), nn.MaxPool2d(2), second, nn.ReLU())
    return module, Network.open(module, (c, size, size), preprocess=Preprocess(channels={1: "L", 3: "RGB"}.get(c, c), **how))


# ---- the notebook's loop, written once more: arrays of levels 0 … 255, scipy's zoom, plain autograd ------------------


def notebook(
    module: nn.Module, image: NDArray[Any], method: Dream, shifts: torch.Generator, guide: Tensor | None
) -> NDArray[Any]:
    """(C, H, W) levels → (C, H, W) levels. The network reads (levels − 127) / 50."""
    octaves = [image.astype(np.float64)]
    for _ in range(method.octaves - 1):
        octaves.append(ndimage.zoom(octaves[-1], (1, 1 / method.ratio, 1 / method.ratio), order=1))
    detail, x = np.zeros_like(octaves[-1]), octaves[-1]
    for base in reversed(octaves):
        _, h, w = base.shape
        if detail.shape != base.shape:
            detail = ndimage.zoom(detail, (1, h / detail.shape[1], w / detail.shape[2]), order=1)
        x = base + detail
        jitter = round(method.jitter * min(1, min(h, w) / 224))
        for _ in range(method.steps):
            oy, ox = torch.randint(-jitter, jitter + 1, (2,), generator=shifts).tolist()
            rolled = torch.tensor(np.roll(np.roll(x, ox, -1), oy, -2), dtype=torch.float32)[None].requires_grad_()
            a = module((rolled - 127) / 50)
            upstream = a.detach()
            if guide is not None:
                flat = upstream[0].flatten(1)
                upstream = guide[:, (flat.T @ guide).argmax(1)].reshape_as(a)
            (g,) = torch.autograd.grad(a, rolled, upstream)
            step = g[0].double().numpy()
            x = rolled.detach()[0].double().numpy() + method.step_size / np.abs(step).mean() * step
            x = np.roll(np.roll(x, -ox, -1), -oy, -2)
            x = np.clip(x, 0, 255)
        detail = x - base
    return x


@pytest.mark.parametrize("guided", [False, True])
def test_it_is_the_notebooks_dream(guided: bool) -> None:
    module, net = network(mean=(127.0,), std=(50.0,), range=255.0)
    image, method = photograph(60, 45), Dream(octaves=3, steps=4, jitter=100)
    more = {"guide": photograph(32, 32, seed=1)} if guided else {}
    with torch.no_grad():
        x = (torch.from_numpy(photograph(32, 32, seed=1)).permute(2, 0, 1)[None].float() - 127) / 50
        guide = module(x)[0].flatten(1) if guided else None
    wanted = notebook(module, image.transpose(2, 0, 1), method, generator(0, "4"), guide)
    found = method(net, "4", Given(image=image, more=more)).tiles[1].transpose(2, 0, 1)
    off = np.abs(found - wanted)
    assert off.max() < 1.5  # float32 against float64, then 8 bits
    assert off.mean() < 0.27
    assert np.abs(wanted - image.transpose(2, 0, 1)).mean() > 5


def test_a_dream_that_is_known() -> None:
    """a = s: the gradient of ½ mean a² is s itself, so brightness grows in proportion to itself."""
    module = nn.Conv2d(1, 1, 1, bias=False)
    nn.init.ones_(module.weight)
    net = Network.open(module, (1, 8, 8), preprocess=Preprocess(channels="L"))
    image = photograph(8, 8, 1) // 2
    found = Dream(octaves=1, steps=1, jitter=0, step_size=20.0)(net, "conv2d", Given(image=image))
    s = image[..., 0].astype(np.float64)
    wanted = np.clip(s + 20 * s / s.mean(), 0, 255)
    assert np.abs(found.tiles[1][..., 0] - wanted).max() <= 0.51
    np.testing.assert_allclose(found.values["objective"][0], 0.5 * ((s / 255) ** 2).mean(), rtol=1e-5)


def test_zoom_is_the_notebooks() -> None:
    image = np.random.default_rng(0).random((3, 37, 53))
    ours = zoom(torch.from_numpy(image), (26, 38)).numpy()
    np.testing.assert_allclose(ours, ndimage.zoom(image, (1, 26 / 37, 38 / 53), order=1), atol=1e-12)


def test_the_guide_pulls_each_place_to_its_best_match() -> None:
    net = network()[1]
    a, b = torch.randn(2, 7, 5, 4, requires_grad=True), torch.randn(7, 9)
    goal = Guided("4", b)
    score = goal.score(Seen((net,), {Place(0, "4"): a}, (10, 8)))
    places = [(y, x) for y in range(5) for x in range(4)]
    slow = [[max(float(image[:, y, x] @ b[:, q]) for q in range(9)) for y, x in places] for image in a.detach()]
    np.testing.assert_allclose(score.detach().numpy(), np.mean(slow, axis=1), rtol=1e-5)


def test_tiles_beside_each_other_see_what_the_whole_sees() -> None:
    """Of 1×1 kernels no tile has borders that matter: values and gradients are those of the whole image."""
    net = Network.open(nn.Conv2d(3, 4, 1), (3, 16, 16), preprocess=Preprocess())
    image, read = torch.rand(3, 70, 101), Reading(Preprocess(), 3)
    whole, tiled = (View((net,), Activity("conv2d"), read, tile) for tile in (512, 32))
    assert (whole.pieces((70, 101)), tiled.pieces((70, 101))) == (1, 12)
    seen: list[int] = []
    score, gradient = tiled.gradient(image, seen.append)
    wanted, slope = whole.gradient(image, lambda _: None)
    np.testing.assert_allclose(score, wanted, rtol=1e-5)
    np.testing.assert_allclose(gradient, slope, rtol=1e-4, atol=1e-9)
    assert sum(seen) == 70 * 101
    assert max(seen) <= 32 * 32


def test_a_network_of_one_size_looks_through_windows() -> None:
    model, x = NETS["plain"]()
    net = Network.open(model, x, preprocess=Preprocess())
    view = View((net,), Class("fc2", 2), Reading(Preprocess(), 3), 512)
    assert view.own == (16, 16)
    image = torch.rand(3, 16, 24)
    assert view.windows((16, 24)) == [(slice(0, 16), slice(0, 16)), (slice(0, 16), slice(8, 24))]
    score, gradient = view.gradient(image, lambda _: None)
    leaf = image.clone().requires_grad_()
    both = (model(leaf[None, :, :, :16])[0, 2] + model(leaf[None, :, :, 8:])[0, 2]) / 2
    (wanted,) = torch.autograd.grad(both, leaf)
    wanted[:, :, 8:16] /= 2  # seen twice
    np.testing.assert_allclose(score, both.item(), rtol=1e-5)
    np.testing.assert_allclose(gradient, wanted, rtol=1e-4, atol=1e-8)
    found = Dream(steps=2)(net, "class:2", Given(image=photograph(10, 40)))
    assert found.tiles.shape == (2, 10, 40, 3)
    said = "the network reads 16×16 px only: 3 such windows, overlapping where they must; smaller scales are enlarged to it"
    assert said in found.notes
    assert found.values["objective"][1] > found.values["objective"][0]


@pytest.mark.parametrize("target", ["4", "3/5", "3/5 - 0.5*3/2", "0"])
def test_it_grows_and_leaves_no_trace(target: str) -> None:
    module, net = network()
    with unchanged(module):
        found = Dream(steps=3)(net, target, Given(image=photograph(40, 50)))
        again = Dream(steps=3)(net, target, Given(image=photograph(40, 50)))
        other = Dream(steps=3, seed=1, jitter=200)(net, target, Given(image=photograph(40, 50)))
    assert found.values["objective"][1] > found.values["objective"][0]
    assert found.units == ("original", "dream")
    np.testing.assert_array_equal(found.tiles[0], photograph(40, 50))
    np.testing.assert_array_equal(found.tiles, again.tiles)
    assert (found.tiles != other.tiles).any()


@pytest.mark.parametrize(("channels", "shape"), [(1, (30, 40, 3)), (4, (30, 40, 12)), (2, (30, 40, 6))])
def test_any_number_of_channels(channels: int, shape: tuple[int, ...]) -> None:
    """Grey is repeated, other numbers stand side by side."""
    found = Dream(steps=2)(network(channels)[1], "4", Given(image=photograph(30, 40, channels)))
    assert found.tiles.shape == (2, 30, shape[1] if channels == 1 else 40 * channels, 3)


def test_blue_green_red_and_means_are_undone() -> None:
    preprocess = Preprocess((224, 224), "crop", 256, (104.0, 117.0, 123.0), (1.0,), 255.0, "BGR")
    image = photograph(9, 7)
    np.testing.assert_allclose(levels(preprocess, image).permute(1, 2, 0) * 255, image, atol=1e-3)
    assert levels(preprocess, image, 18).shape == (3, 18, 14)


def test_frames_tell_the_way() -> None:
    net = network()[1]
    asked = Given(image=photograph(40, 50))
    found = Dream(steps=5, octaves=2, frames=5)(net, "4", asked)
    assert found.units == ("original", "step 2", "step 4", "step 6", "step 8", "dream")
    plain = Dream(steps=5, octaves=2)(net, "4", asked)
    np.testing.assert_array_equal(found.tiles[[0, -1]], plain.tiles)
    far = np.abs(found.tiles.astype(float) - found.tiles[0]).mean((1, 2, 3))
    assert (np.diff(far) > 0).all()
    every = Dream(steps=2, octaves=2, frames=50)(net, "4", asked)
    assert len(every.tiles) == 5
    assert "4 of 50 frames: there are no more steps" in every.notes


def test_without_an_image_it_starts_from_noise_and_says_so() -> None:
    found = Dream(steps=2, size=48)(network()[1], "4")
    assert found.tiles.shape == (2, 48, 48, 3)
    assert "no image given: started from grey noise, seed 0" in found.notes


def test_large_images_are_seen_in_tiles_and_this_is_said() -> None:
    found = Dream(steps=1, tile=32)(network()[1], "4", Given(image=photograph(70, 90)))
    assert "seen in 9 tiles of at most 32 px, their borders elsewhere at each step" in found.notes


def test_scales_that_leave_nothing_are_left_out_and_this_is_said() -> None:
    net = Network.open(nn.Sequential(nn.Conv2d(1, 2, 9)), (1, 32, 32), preprocess=Preprocess(channels="L"))
    found = Dream(steps=2)(net, "0", Given(image=photograph(14, 20, 1)))
    assert "2 of 4 scales left out: so small an image leaves nothing at the layer" in found.notes
    with pytest.raises(ShapeError, match=r"a dream on 8×20 px; .*; give a larger image, or --size"):
        Dream(steps=2)(net, "0", Given(image=photograph(8, 20, 1)))


def test_where_no_gradient_comes_back_the_image_stays() -> None:
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
    nn.init.constant_(module[0].bias, -1e6)  # type: ignore[arg-type]
    net = Network.open(module, (1, 16, 16), preprocess=Preprocess(channels="L"))
    found = Dream(steps=2, octaves=1)(net, "1", Given(image=photograph(16, 16, 1)))
    np.testing.assert_array_equal(found.tiles[0], found.tiles[1])
    assert "no gradient came back at 2 of 2 steps: the image stayed" in found.notes


def test_progress_counts_pixels_and_may_stop() -> None:
    told: list[tuple[int, int, str]] = []
    Dream(steps=3)(network()[1], "4", Given(image=photograph(40, 50), progress=lambda *a: told.append(a)))
    assert [d for d, _, _ in told] == sorted(d for d, _, _ in told)
    assert told[-1] == (1000, 1000, "dream: scale 4 of 4 (40×50 px), step 3 of 3")
    assert told[2][0] < 125  # three steps of twelve, but of the smallest scale

    def stop(done: int, total: int, text: str) -> None:
        raise Cancelled("stop")

    with pytest.raises(Cancelled):
        Dream()(network()[1], "4", Given(image=photograph(40, 50), progress=stop))


def test_what_cannot_be_dreamt_is_refused_in_words() -> None:
    net = network()[1]
    with pytest.raises(UsageError, match=r"a guide for '3/5'; it guides a whole layer; name one: 0, …"):
        Dream()(net, "3/5", Given(image=photograph(40, 50), more={"guide": photograph(9, 9)}))
    with pytest.raises(UsageError, match=r"400 frames of 800×600 px; they would take 549 MiB; ask for 372 at most"):
        Dream(frames=400)(net, "4", Given(image=photograph(600, 800)))
    with pytest.raises(ShapeError, match="the network reads 3 channels"):
        Dream()(net, "4", Given(image=photograph(40, 50, 4)))


def test_scales_are_rounded_one_from_the_other() -> None:
    assert Octaves(4, 1.4, 10, 1.5, 32).sizes((227, 300)) == [(227, 300), (162, 214), (116, 153), (83, 109)]
