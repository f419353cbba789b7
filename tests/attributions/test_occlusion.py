"""Occlusion against a linear network's exact answer, a loop over windows, and captum's Occlusion.

Turns red: in `attributions/occlusion.py`, `asked.clean[:, None] - found.T` with its signs turned.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from captum.attr import Occlusion as Peer
from torch import nn

from convscope.attributions._fill import filled
from convscope.attributions.occlusion import Occlusion, windows
from convscope.errors import UsageError
from convscope.images import PRESETS
from convscope.network import Network
from convscope.run import Target, target
from tests import oracles
from tests.contracts.leaves import opened
from tests.nets import NETS
from tests.traces import unchanged


def test_of_a_linear_network_a_pixel_is_worth_weight_times_value() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(18, 2)).double()
    x = torch.randn(2, 2, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    net = Network.open(model, x)
    found = Occlusion(window=1, stride=1, fill="zero")(net, x, target(net, 1, x))
    weights = model[1].weight.detach()[1].reshape(2, 3, 3)
    np.testing.assert_allclose(found.values[:, 0], (weights * x).sum(1), atol=1e-14)


@pytest.mark.parametrize(("window", "stride"), [(3, 2), (4, 4), (5, 3), (14, 1), (1, 1)])
def test_same_as_a_loop(window: int, stride: int) -> None:
    model, x = NETS["non_square"]()
    model, x = model.double(), x.double()
    net = Network.open(model, x)
    found = Occlusion(window=window, stride=stride, batch=7)(net, x[:1], target(net, 2, x))

    def score(image: np.ndarray) -> float:
        return float(model(torch.from_numpy(image)[None])[0, 2].detach())

    slow = oracles.occlusion(score, x[0].numpy(), window, stride, x[0].mean((1, 2)).numpy())
    np.testing.assert_allclose(found.map[0], slow, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize(("window", "stride"), [(4, 3), (5, 5)])
def test_same_as_captum(name: str, window: int, stride: int) -> None:
    model, x, net = opened(name)
    found = Occlusion(window=window, stride=stride, fill="zero")(net, x, target(net, 0, x)).values
    shape, step = (x.shape[1], window, window), (x.shape[1], stride, stride)
    peer = Peer(model).attribute(x, sliding_window_shapes=shape, strides=step, target=0)
    # 2e-4: drops are differences of scores that are much larger, in float32 and from a network that rounds otherwise.
    np.testing.assert_allclose(found[:, 0], peer[:, 0].detach(), rtol=0, atol=2e-4 * float(peer.abs().max()))


@pytest.mark.parametrize("name", ["residual", "grouped", "rows_lstm"])
def test_same_as_captum_in_float64(name: str) -> None:
    model, x = NETS[name]()
    model, x = model.double(), x.double()
    net = Network.open(model, x)
    found = Occlusion(window=4, stride=3, fill="zero")(net, x, target(net, 0, x)).values
    peer = Peer(model).attribute(x, sliding_window_shapes=(x.shape[1], 4, 4), strides=(x.shape[1], 3, 3), target=0)
    assert found.dtype == np.float64
    # 2e-7: captum keeps its sums in float32 even then.
    np.testing.assert_allclose(found[:, 0], peer[:, 0].detach(), rtol=0, atol=2e-7 * float(peer.abs().max()))


@pytest.mark.parametrize("batch", [1, 5, 1000])
def test_the_number_of_images_in_a_pass_does_not_matter(batch: int) -> None:
    _, x, net = opened("plain")
    one, other = (Occlusion(window=5, batch=b)(net, x, target(net, 0, x)).values for b in (32, batch))
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * np.abs(one).max())


@pytest.mark.parametrize(("n", "window", "stride"), [(8, 3, 1), (10, 4, 3), (7, 7, 2), (9, 4, 4), (5, 1, 1)])
def test_every_pixel_is_covered(n: int, window: int, stride: int) -> None:
    covered = np.zeros((n, n + 3), int)
    for y0, y1, x0, x1 in windows(n, n + 3, window, stride):
        covered[y0:y1, x0:x1] += 1
        assert y0 < y1 <= n
        assert x0 < x1 <= n + 3
    assert covered.min() >= 1


def test_fills_are_what_they_say() -> None:
    model, x, _ = opened("plain")
    net = Network.open(model, x, preprocess=PRESETS["signed"])
    x = x + 1
    assert torch.allclose(filled(net, x, "mean")[:, :, 3, 4], x.mean((2, 3)))
    assert not filled(net, x, "zero").any()
    assert not filled(net, x, "grey").any(), "mid-grey of −1 … 1"
    imagenet = Network.open(model, x, preprocess=PRESETS["imagenet"])
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    assert torch.allclose(filled(imagenet, x, "grey")[1, :, 0, 0], (0.5 - mean) / std)
    assert torch.allclose(filled(imagenet, x, "#ff0080")[0, :, 0, 0], (torch.tensor([255, 0, 128]) / 255 - mean) / std)
    assert torch.allclose(filled(imagenet, x, "51")[0, :, 0, 0], (0.2 - mean) / std)
    said = Occlusion(window=4, fill="grey")(imagenet, x, Target("0", 0)).notes[0]
    assert said == "49 windows of 4×4 px, 2 px apart, filled with mid-grey (0.0655, 0.196, 0.418 in the network's units)"
    with pytest.raises(UsageError, match="fill='grey' needs to know the pixel range; plain was opened without"):
        Occlusion(fill="grey")(opened("plain")[2], x, Target("0", 0))
    with pytest.raises(UsageError, match="the fill '1,2' has 2 numbers; the network reads 3 channels"):
        filled(imagenet, x, "1,2")
    with pytest.raises(UsageError, match="the fill '300' is no colour"):
        Occlusion(fill="300")


def test_noise_and_blur() -> None:
    _, x, net = opened("plain")
    noise = filled(net, x, "noise", seed=3)
    assert torch.equal(noise, filled(net, x, "noise", seed=3))
    assert not torch.equal(noise, filled(net, x, "noise", seed=4))
    flat = torch.full((1, 3, 9, 7), 2.0)
    assert torch.allclose(filled(net, flat, "blur"), flat), "a blurred plain is the same plain"
    spot = torch.zeros(1, 1, 21, 21)
    spot[0, 0, 10, 10] = 1
    blur = filled(net, spot, "blur")
    assert blur.sum() == pytest.approx(1, abs=1e-5)
    ratio = float(blur[0, 0, 10, 12] / blur[0, 0, 10, 10])
    assert ratio == pytest.approx(np.exp(-(2**2) / (2 * 2.1**2)), rel=1e-4)
    assert filled(net, torch.ones(1, 1, 1, 1), "blur").shape == (1, 1, 1, 1)


def test_several_targets_cost_one_run_and_are_the_same() -> None:
    _, x, net = opened("residual")
    asked = [target(net, t, x) for t in (0, 3, "relu/2", "relu/4@3,3", "block1.relu:1/0")]
    together = Occlusion(window=4, stride=3).several(net, x, asked)
    for one, found in zip(asked, together, strict=True):
        alone = Occlusion(window=4, stride=3)(net, x, one)
        np.testing.assert_allclose(found.values, alone.values, rtol=0, atol=1e-6)
        np.testing.assert_allclose(found.scores, alone.scores)
        assert found.targets == (one.label, one.label)


def test_it_proves_itself_and_says_where_little_can_be_saved() -> None:
    _, x, net = opened("plain")
    found = Occlusion(window=3)(net, x, Target("0", 0))
    assert found.proof["largest difference to full passes"] < 1e-5
    assert found.proof["share of a pass that can change"] < 0.5
    gated = Network.open(_Gated(), (3, 12, 12))
    notes = Occlusion(window=3)(gated, torch.rand(1, 3, 12, 12), Target("0", 0)).notes
    assert any("so that little can be left out: from mean on it changes everything" in n for n in notes)


def test_the_fast_mode_says_that_it_is_approximate_and_how_well_it_agrees() -> None:
    _, x, net = opened("residual")
    exact, quick = (Occlusion(window=4, stride=2, fast=f)(net, x, Target("0", 0)) for f in (False, True))
    assert "correlation with full passes" not in exact.proof
    assert float(quick.proof["correlation with full passes"]) > 0.999
    assert any(n.startswith("approximate: differences to the clean pass were carried in bfloat16") for n in quick.notes)
    assert 1e-4 < np.abs(exact.values - quick.values).max() / np.abs(exact.values).max() < 0.05, "close, and not the same"


class _Gated(nn.Module):
    """A squeeze-and-excitation gate before everything else."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.conv = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x * torch.sigmoid(self.gate(x.mean((2, 3), keepdim=True)))).mean((2, 3))


def test_sizes_follow_the_image_where_none_are_given() -> None:
    assert [Occlusion().sizes(*size) for size in ((224, 224), (227, 300), (28, 28), (8, 8), (2, 5))] == [
        (16, 8), (16, 8), (3, 1), (3, 1), (2, 1)]
    assert Occlusion(window=10, stride=2).sizes(20, 14) == (10, 2)


def test_windows_that_leave_gaps_or_do_not_fit_are_refused() -> None:
    with pytest.raises(UsageError, match="stride 5 is larger than the window 4; pixels between would never be covered"):
        Occlusion(window=4, stride=5)
    _, x, net = opened("grey")
    with pytest.raises(UsageError, match="stride 5 is larger than the window 3"):
        Occlusion(stride=5)(net, x, Target("0", 0))
    with pytest.raises(UsageError, match="a window of 13 px does not fit into 12×12"):
        Occlusion(window=13)(net, x, Target("0", 0))
    with pytest.raises(UsageError, match=r"Occlusion\.window must be in"):
        Occlusion(window=0)
    with pytest.raises(UsageError, match="no fill named 'black'"):
        Occlusion(fill="black")


def test_progress_is_told_and_may_stop_it() -> None:
    model, x, net = opened("grey")
    told: list[tuple[int, int, str]] = []
    Occlusion(window=6, stride=6, batch=3)(net, x, Target("0", 0), lambda *a: told.append(a))
    assert [done for done, _, _ in told] == sorted({done for done, _, _ in told})
    assert told[-1] == (8, 8, "windows")
    assert {(total, what) for _, total, what in told} == {(8, "windows")}

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with unchanged(model, x), pytest.raises(KeyboardInterrupt):
        Occlusion()(net, x, Target("0", 0), stop)


def test_a_network_bound_to_its_batch_is_asked_in_that_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    _, x, net = opened("plain")
    bound = dataclasses.replace(net, batch=2, _at={})
    sizes: list[int] = []
    monkeypatch.setattr("convscope.fast.Fast.run", lambda self, part: sizes.append(len(part)) or part[:, 0, 0, :5])
    found = Occlusion(window=1, fill="zero", batch=5)(bound, x, Target("1", 1))
    assert set(sizes) == {2}
    np.testing.assert_allclose(found.values[:, 0, 0, 1], x[:, 0, 0, 1])
    assert np.count_nonzero(found.values) == 2
