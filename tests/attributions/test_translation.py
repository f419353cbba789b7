"""Translation: a linear network's exact answer, a loop over places written plainly, what a moved part must keep.

Turns red: in `attributions/translation.py`, `centre // step` -> `centre // step + 1`; in `incremental/executor.py`,
`region.moved(-away[members])` -> `region.moved(away[members])`.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from convscope.attributions.translation import Translation, moves, nearest, pasted
from convscope.errors import UsageError
from convscope.network import Network
from convscope.run import Target, target
from tests.contracts.leaves import opened
from tests.nets import NETS
from tests.traces import unchanged

FAR = "largest difference to full passes"


def loop(model: nn.Module, x: torch.Tensor, box: tuple[int, int, int, int], step: int, keep: bool, k: int) -> np.ndarray:
    """(H, W) for one image (1, C, H, W): scores, pixel by pixel, from full passes of the user's module.

    A pixel takes the place whose centre is nearest to it; the patch is pasted number by number, what falls outside is lost.
    """
    left, top, right, bottom = box
    _, channels, height, width = x.shape
    hole = x.clone()
    if not keep:
        hole[:, :, top:bottom, left:right] = x.mean((2, 3), keepdim=True)
    cy, cx = top + (bottom - top) // 2, left + (right - left) // 2
    centres = [(y, x_) for y in range(cy % step, height, step) for x_ in range(cx % step, width, step)]
    scores = {}
    for y, x_ in centres:
        image = hole.clone()
        for c in range(channels):
            for i in range(top, bottom):
                for j in range(left, right):
                    to = (i + y - cy, j + x_ - cx)
                    if 0 <= to[0] < height and 0 <= to[1] < width:
                        image[0, c, to[0], to[1]] = x[0, c, i, j]
        scores[y, x_] = float(model(image)[0, k].detach())
    found = np.empty((height, width))
    for i in range(height):
        for j in range(width):
            found[i, j] = scores[min(centres, key=lambda at: (abs(at[0] - i), at[0], abs(at[1] - j), at[1]))]
    return found


@pytest.mark.parametrize(("box", "step"), [((2, 3, 7, 9), 3), ((0, 0, 14, 12), 5), ((5, 4, 6, 5), 4), ((9, 8, 14, 12), 2)])
@pytest.mark.parametrize("keep", [False, True])
def test_same_as_a_loop(box: tuple[int, int, int, int], step: int, keep: bool) -> None:
    model, x = NETS["non_square"]()
    model, x = model.double(), x[:1].double()
    height, width = x.shape[2:]
    box = (box[0], box[1], min(box[2], width), min(box[3], height))
    net = Network.open(model, x)
    method = Translation(box=",".join(map(str, box)), step=step, keep=keep, value="score", batch=7)
    found = method(net, x, target(net, 2, x))
    np.testing.assert_allclose(found.map[0], loop(model, x, box, step, keep, 2), rtol=0, atol=1e-12)
    assert found.proof[FAR] < 1e-12  # type: ignore[operator]


@pytest.mark.parametrize("name", NETS)
def test_at_its_own_place_it_is_the_image(name: str) -> None:
    """Cut out, filled, and pasted where it was: the score of the image itself, whatever the fill."""
    model, x, net = opened(name)
    for fill in ("mean", "noise"):
        found = Translation(value="score", fill=fill, step=5)(net, x, target(net, 1, x))
        side = min(x.shape[2:]) // 2
        y, across = ((n - side) // 2 + side // 2 for n in x.shape[2:])
        np.testing.assert_allclose(found.map[:, y, across], model(x)[:, 1].detach(), rtol=1e-4, atol=1e-5)
        assert found.proof[FAR] < 1e-4  # type: ignore[operator]


def test_of_a_linear_network_a_gain_is_the_patch_weighed_where_it_lies() -> None:
    """S = Σ w·x: a patch of ones over a hole of zeros gains the weights under it."""
    dense = nn.Linear(30, 2)
    net = Network.open(nn.Sequential(nn.Flatten(), dense).double(), (1, 5, 6))
    x = torch.zeros(1, 1, 5, 6, dtype=torch.float64)
    x[0, 0, 1:3, 2:5] = 1
    found = Translation(box="2,1,5,3", step=1, fill="zero")(net, x, Target("1", 1))
    weights = np.pad(dense.weight.detach()[1].reshape(5, 6).numpy(), 3)
    for i in range(5):
        for j in range(6):  # 2×3 pixels around (i, j): one row above, one column to either side; outside is nothing
            under = weights[3 + i - 1 : 3 + i + 1, 3 + j - 1 : 3 + j + 2]
            assert found.map[0, i, j] == pytest.approx(under.sum(), abs=1e-12)
    assert found.unit == "gain of the score"
    twice = Translation(box="2,1,5,3", step=1, fill="zero", keep=True)(net, x, Target("1", 1))
    assert twice.map[0, 2, 3] == 0, "on top of itself a copy changes nothing"


def test_a_network_that_pools_over_everything_does_not_mind() -> None:
    """Away from the border, a global mean of a pointwise network is the same wherever the part stands."""
    model = nn.Sequential(nn.Conv2d(1, 4, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)).double()
    for part in model:
        if isinstance(part, nn.Conv2d | nn.Linear):
            nn.init.ones_(part.weight)
    net = Network.open(model, (1, 12, 12))
    x = torch.zeros(1, 1, 12, 12, dtype=torch.float64)
    x[0, 0, 4:8, 4:8] = torch.rand(4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = Translation(box="4,4,8,8", step=1, fill="zero")(net, x, Target("0", 0))
    inner = found.map[0, 2:11, 2:11]
    np.testing.assert_allclose(inner, inner[0, 0], rtol=1e-12, atol=1e-12)
    assert abs(found.map[0, 0, 0] - inner[0, 0]) > 0.1, "cropped at the border"


def test_it_says_what_it_did() -> None:
    _, x, net = opened("plain")
    found = Translation(step=4)(net, x, Target("0", 0))
    begins = "the part at 4,4,12,12 (left,top,right,bottom) moved, its hole filled with each image's own mean colour ("
    assert found.notes[0].startswith(begins)
    assert found.notes[0].endswith(", to 16 places, 4 px apart: a pixel has the value of the nearest")
    assert found.notes[1].startswith("score with the hole alone: ")
    assert found.notes[2] == "cropped by the border at 7 of 16 places"
    copied = Translation(step=4, keep=True, value="score")(net, x[:1], Target("0", 0))
    assert copied.notes[0].startswith("the part at 4,4,12,12 (left,top,right,bottom) copied to 16 places")
    assert copied.notes[1].startswith("score of the image as it is: ")
    assert copied.unit == "score"
    gain = Translation(step=4, keep=True)(net, x[:1], Target("0", 0))
    np.testing.assert_allclose(copied.values - gain.values, float(copied.scores[0]), rtol=1e-4)


def test_places() -> None:
    for n, centre, step in ((8, 3, 2), (7, 0, 3), (5, 4, 9), (16, 8, 1)):
        shifts = moves(centre, step, n)
        assert 0 in shifts
        assert ((centre + shifts >= 0) & (centre + shifts < n)).all()
        assert centre + shifts[0] - step < 0
        assert centre + shifts[-1] + step >= n
    assert nearest(6, np.array([1, 4])).tolist() == [0, 0, 0, 1, 1, 1]
    assert pasted((2, 4, 1, 5), (-3, 2), (9, 6)) == (0, 1, 3, 6)
    assert Translation().part(20, 14) == (6, 13, 3, 10)
    assert Translation().part(1, 5) == (0, 1, 2, 3)
    assert Translation(box="1,2,5,9").part(10, 10) == (2, 9, 1, 5)


@pytest.mark.parametrize(("box", "why"), [
    ("1,2,3", "it is not four whole numbers"), ("a,b,c,d", "it is not four whole numbers"),
    ("3,1,3,5", "it is empty, or begins outside"), ("-1,0,2,2", "it is empty, or begins outside"),
])
def test_a_box_that_is_none_is_refused(box: str, why: str) -> None:
    with pytest.raises(UsageError, match=f"the box '{box}' is no part of an image; {why}"):
        Translation(box=box)


def test_a_box_outside_and_other_mistakes() -> None:
    _, x, net = opened("grey")
    with pytest.raises(UsageError, match="the box 2,2,13,4 does not lie in the image; it is 12 px wide and 12 high"):
        Translation(box="2,2,13,4")(net, x, Target("0", 0))
    with pytest.raises(UsageError, match="no fill named 'black'"):
        Translation(fill="black")
    with pytest.raises(UsageError, match=r"Translation\.value must be one of gain, score"):
        Translation(value="drop")


def test_progress_is_told_and_may_stop_it() -> None:
    model, x, net = opened("grey")
    told: list[tuple[int, int, str]] = []
    Translation(step=4, batch=3)(net, x, Target("0", 0), lambda *a: told.append(a))
    assert told[-1] == (18, 18, "places")
    assert [done for done, _, _ in told] == sorted({done for done, _, _ in told})

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with unchanged(model, x), pytest.raises(KeyboardInterrupt):
        Translation()(net, x, Target("0", 0), stop)


def test_a_network_bound_to_its_batch_is_run_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pasted images themselves, in batches of that size: the stand-in answers with single pixels."""
    _, x, net = opened("plain")
    bound = dataclasses.replace(net, batch=2, _at={})
    monkeypatch.setattr("convscope.fast.Fast.run", lambda self, part: part[:, 0, 0, :5])
    found = Translation(box="4,4,7,7", step=1, keep=True, value="score")(bound, x, Target("1", 1))
    # Pixel (0, 1) of the pasted image: the patch's own pixel where the patch covers it, else the image's.
    for i, j in ((1, 1), (0, 1), (1, 2), (0, 0), (5, 5), (1, 4)):
        top, left = i - 1, j - 1
        inside = 0 <= -top < 3 and 0 <= 1 - left < 3
        wanted = x[:, 0, 4 - top, 4 + 1 - left] if inside else x[:, 0, 0, 1]
        np.testing.assert_allclose(found.map[:, i, j], wanted)
