"""Score-CAM against algorithm 1 of the paper in loops; its baseline, limit, progress and constant maps.

Turns red: in `attributions/score_cam.py`, `yield scores - base` -> `yield scores * base`.
"""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from convscope.attributions.score_cam import ScoreCAM
from convscope.errors import UsageError
from convscope.images import PRESETS
from convscope.network import Network
from convscope.run import Target, target
from tests.attributions.cams import enlarged
from tests.contracts.leaves import opened
from tests.traces import unchanged


def by_the_paper(model: nn.Module, image: torch.Tensor, maps: np.ndarray, k: int, faded: torch.Tensor) -> np.ndarray:
    """The small map, channel by channel (Wang et al. 2020, algorithm 1, before its ReLU)."""

    def score(x: torch.Tensor) -> float:
        return float(model(x[None])[0, k].detach())

    gains = []
    for one in maps:
        large = enlarged(one, *image.shape[1:])
        mask = torch.from_numpy((large - large.min()) / (large.max() - large.min())).to(image)
        gains.append(score(image * mask + faded * (1 - mask)) - score(faded))
    total = sum(map(math.exp, gains))
    return sum(math.exp(gain) / total * one for gain, one in zip(gains, maps, strict=True))  # type: ignore[return-value]


@pytest.mark.parametrize(("name", "address"), [("plain", "relu1"), ("residual", "block2.relu:1"), ("concat", "stem.1")])
@pytest.mark.parametrize("baseline", ["zero", "mean"])
def test_same_as_the_papers_algorithm(name: str, address: str, baseline: str) -> None:
    model, x, _ = opened(name)
    model, x = copy.deepcopy(model).double(), 3 * x.double()
    net = Network.open(model, x)
    faded = torch.zeros_like(x[0]) if baseline == "zero" else x[0].mean((1, 2), keepdim=True).expand_as(x[0])
    maps = net.run(x[:1], keep=[address])[address][0].numpy()
    live = maps[np.ptp(maps, axis=(1, 2)) > 0]
    small = by_the_paper(model, x[0], live, 2, faded)
    found = ScoreCAM(layer=address, baseline=baseline, batch=4)(net, x[:1], target(net, 2, x))
    wanted = enlarged(small, *x.shape[2:])
    np.testing.assert_allclose(found.map[0], wanted, rtol=0, atol=1e-9 * np.abs(wanted).max())
    assert found.proof["sum of the weights"] == pytest.approx(1)
    assert found.proof["channels tried"] == f"{len(live)} … {len(live)} of {len(maps)}"


def test_the_widest_maps_are_tried_first_and_the_limit_is_said() -> None:
    _, x, net = opened("residual")
    method = ScoreCAM(most=2)
    maps = torch.stack([n * torch.linspace(0, 1, 4).reshape(2, 2) for n in (1.0, 3.0, 0.0, 2.0)])
    assert method.strongest(maps).tolist() == [1, 3]
    assert ScoreCAM(most=0).strongest(maps).tolist() == [1, 3, 0]  # a flat map is no mask
    found = method(net, x, target(net, 1, x))
    assert "only the 2 maps with the widest range were tried, of 8 (most=0 tries all)" in found.notes
    assert found.proof["channels tried"] == "2 … 2 of 8"
    assert not any("widest" in note for note in ScoreCAM(most=0)(net, x, target(net, 1, x)).notes)


def test_the_baseline_is_said() -> None:
    model, x, net = opened("plain")
    assert ScoreCAM()(net, x, Target("0", 0)).notes[0] == "masks fade to zeros in the network's units"
    known = Network.open(model, x, preprocess=PRESETS["imagenet"])
    assert "pixels 124, 116, 104" in ScoreCAM()(known, x, Target("0", 0)).notes[0]
    assert "black pixels" in ScoreCAM(baseline="black")(known, x, Target("0", 0)).notes[0]
    with pytest.raises(UsageError, match="baseline='black' needs to know the pixel range"):
        ScoreCAM(baseline="black")(net, x, Target("0", 0))


def test_progress_is_told_and_may_stop_it() -> None:
    model, x, net = opened("residual")
    told: list[tuple[int, int, str]] = []
    ScoreCAM(batch=3)(net, x, Target("0", 0), lambda *a: told.append(a))
    assert told[0] == (3, 13, "masks")  # of 8 maps each, some are flat in an image
    assert told[-1] == (13, 13, "masks")
    assert [done for done, *_ in told] == sorted({done for done, *_ in told})

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with unchanged(model, x), pytest.raises(KeyboardInterrupt):
        ScoreCAM()(net, x, Target("0", 0), stop)


@pytest.mark.parametrize("batch", [1, 3, 100])
def test_the_number_of_images_in_a_pass_does_not_matter(batch: int) -> None:
    _, x, net = opened("concat")
    one, other = (ScoreCAM(batch=b)(net, x, target(net, 0, x)).values for b in (32, batch))
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * np.abs(one).max())
