"""Occlusion against a linear network's exact answer, a loop over windows, and captum's Occlusion.

Turns red: in `attributions/occlusion.py`, `clean[b].double() - score(…)` -> `score(…) - clean[b]`.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from captum.attr import Occlusion as Peer
from torch import nn

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
    assert torch.allclose(Occlusion().colours(net, x), x.mean((2, 3)))
    assert not Occlusion(fill="zero").colours(net, x).any()
    assert not Occlusion(fill="grey").colours(net, x).any()  # mid-grey of −1 … 1
    imagenet = Network.open(model, x, preprocess=PRESETS["imagenet"])
    wanted = (0.5 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    assert torch.allclose(Occlusion(fill="grey").colours(imagenet, x), wanted.expand(2, 3))
    said = Occlusion(window=4, fill="grey")(imagenet, x, Target("0", 0)).notes[0]
    assert said == "49 windows of 4×4 px, 2 px apart, filled with mid-grey (0.0655, 0.196, 0.418 in the network's units)"
    with pytest.raises(UsageError, match="fill='grey' needs to know the pixel range; plain was opened without"):
        Occlusion(fill="grey")(opened("plain")[2], x, Target("0", 0))


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
    with pytest.raises(UsageError, match=r"Occlusion\.fill must be one of mean, grey, zero"):
        Occlusion(fill="black")


def test_progress_is_told_and_may_stop_it() -> None:
    model, x, net = opened("grey")
    told: list[tuple[int, int, str]] = []
    Occlusion(window=6, stride=6, batch=3)(net, x, Target("0", 0), lambda *a: told.append(a))
    assert told == [(3, 8, "windows"), (4, 8, "windows"), (7, 8, "windows"), (8, 8, "windows")]

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
