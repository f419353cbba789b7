"""The scan as a whole: the map lies on the picture, boxes are where the windows were, and what was done is said.

Turns red: `(self.size[k] - 1) // 2` → `self.size[k] // 2` in `_Map.on`; `* ratios[1]` left out in `_Map.boxes`; `done +=
count` → `done = count`; `- others.max(1).values` left out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from convscope.dense.scan import DenseScan
from convscope.errors import Cancelled, ShapeError, UsageError
from convscope.network import Network
from tests.dense.loops import window_by_window
from tests.nets import NETS
from tests.traces import unchanged


def blobs(size: int = 5) -> Network:
    """Two classes: the brightness of a window's middle pixel, and minus that of all its pixels."""
    conv = nn.Conv2d(1, 2, size)
    with torch.no_grad():
        conv.weight.zero_()
        conv.bias.zero_()
        conv.weight[0, 0, (size - 1) // 2, (size - 1) // 2] = 1
        conv.weight[1] = -1 / size**2
    return Network.open(nn.Sequential(conv, nn.Flatten()), (1, size, size), classes=("dot", "dark"))


def spot(row: int, column: int, shape: tuple[int, int] = (30, 40)) -> Any:
    image = np.zeros((*shape, 1), np.uint8)
    image[row, column] = 255
    return image


@pytest.mark.parametrize("size", [5, 6])
def test_a_pixel_has_the_score_of_the_window_centred_on_it(size: int) -> None:
    found = DenseScan()(blobs(size), spot(12, 17), "dot")
    heat = found.heatmap.map[0]
    assert heat.shape == (30, 40)
    assert np.argwhere(heat == 1).tolist() == [[12, 17]]
    low, high = (size - 1) // 2, size // 2  # pixels before and after the centre
    inside = np.zeros((30, 40), bool)
    inside[low : 30 - high, low : 40 - high] = True
    assert (np.isfinite(heat) == inside).all()
    assert found.heatmap.images.shape == (1, 30, 40, 3)
    assert found.heatmap.targets == ("0 dot",)
    best = {name: cells[0] for name, cells in found.peaks.columns.items()}
    assert (best["left"], best["top"], best["width"], best["height"]) == (17 - low, 12 - low, size, size)
    assert (best["score"], best["class"], best["scale"]) == (1, "0 dot", 1)


def test_scales_put_boxes_back_on_the_picture() -> None:
    image = np.zeros((40, 60, 1), np.uint8)
    image[20:24, 28:32] = 255
    found = DenseScan(scales="1,0.25", top=40, overlap=1.0)(blobs(), image, "dot")
    assert found.heatmap.map.shape == (2, 40, 60)
    assert found.heatmap.targets == ("0 dot, scale 1", "0 dot, scale 0.25")
    assert [one.shape for one in found.scores] == [(36, 56), (6, 11)]
    coarse = [k for k in range(len(found.peaks)) if found.peaks.columns["scale"][k] == 0.25]
    assert coarse
    assert found.peaks.columns["width"][coarse[0]] == 20  # 5 pixels at a quarter of the size
    assert np.allclose([found.peaks.columns["row"][coarse[0]], found.peaks.columns["column"][coarse[0]]], [22, 30])
    row, column = np.unravel_index(np.nanargmax(found.heatmap.map[1]), (40, 60))
    assert 20 <= row < 24
    assert 28 <= column < 32


def test_a_stride_leaves_blocks() -> None:
    found = DenseScan(stride=4)(blobs(), spot(14, 18), "dot")
    assert found.scores[0].shape == (7, 9)
    assert np.argwhere(found.scores[0] == 1).tolist() == [[3, 4]]
    assert np.argwhere(found.heatmap.map[0] == 1).tolist() == [[r, c] for r in range(12, 16) for c in range(16, 20)]


def test_the_best_class_and_the_margin() -> None:
    net, image = blobs(), spot(12, 17)
    found = DenseScan(top=1)(net, image)
    assert found.peaks.columns["class"].tolist() == ["0 dot"]
    margin = DenseScan(score="margin", top=1)(net, image, 1)
    assert np.isclose(margin.scores[0][10, 15], -1 / 25 - 1)
    best = DenseScan(score="margin")(net, image)
    assert np.isclose(best.scores[0][10, 15], 1 + 1 / 25)
    assert "less the best of the other classes" in best.heatmap.unit


def test_windows_run_one_by_one_prove_it() -> None:
    module, x = NETS["plain"]()
    net = Network.open(module, x[:1])
    image = torch.randn(3, 40, 44)
    with unchanged(module, image):
        found = DenseScan(samples=20)(net, image, 3)
        context = DenseScan(samples=20, way="context")(net, image, 3)
    assert found.heatmap.proof["windows run one by one"] == 20
    assert found.heatmap.proof["largest difference"] < 1e-5  # type: ignore[operator]
    true = window_by_window(module, image, (16, 16))[..., 3].numpy()
    assert np.abs(found.scores[0] - true).max() < 1e-5
    off = np.abs(context.scores[0] - true)
    said = next(note for note in context.heatmap.notes if "NOT the window loop" in note)
    assert "on 20 of them (seed 0) scores differ by up to" in said
    assert 1e-3 < context.heatmap.proof["largest difference"] <= off.max() * 1.0001  # type: ignore[operator]


def test_progress_counts_all_windows_and_may_stop() -> None:
    told: list[tuple[int, int]] = []
    method, image = DenseScan(scales="1,0.5", memory=1), spot(9, 9, (200, 220))
    method(blobs(), image, 0, lambda done, total, text: told.append((done, total)))
    assert told[-1] == (196 * 216 + 96 * 106,) * 2
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert len(told) > 2

    def stop(done: int, total: int, text: str) -> None:
        raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        DenseScan()(blobs(), spot(9, 9), 0, stop)


def test_the_same_seed_gives_the_same_bits() -> None:
    module, x = NETS["concat"]()
    net = Network.open(module, x[:1])
    image = torch.randn(3, 30, 30)
    one, two = (DenseScan()(net, image, 0) for _ in range(2))
    assert one.scores[0].tobytes() == two.scores[0].tobytes()
    assert one.heatmap.proof == two.heatmap.proof


@pytest.mark.parametrize(("asked", "image", "target", "problem", "said"), [
    ({}, spot(0, 0, (4, 40)), 0, ShapeError, "no window of 5×5 pixels fits; the picture has 4×40 at this scale"),
    ({"scales": "1,a"}, None, 0, UsageError, "DenseScan.scales must be numbers, got '1,a'"),
    ({"scales": "0"}, None, 0, UsageError, "over 0 and up to 16"),
    ({"scales": "0.5"}, torch.zeros(1, 9, 9), 0, UsageError, "numbers that the network reads are not resized"),
    ({}, torch.zeros(3, 9, 9), 0, ShapeError, "reads 1 channels of numbers; got torch.float32 of shape (3, 9, 9)"),
    ({}, spot(1, 1), "0/1", UsageError, "a scan asks for a class; '0/1' is a unit"),
    ({"stride": 0}, None, 0, UsageError, "DenseScan.stride must be in [1, ∞]"),
])  # fmt: skip
def test_errors_say_what_was_asked(asked: dict[str, Any], image: Any, target: Any, problem: type[Exception],
                                   said: str) -> None:
    with pytest.raises(problem) as raised:
        DenseScan(**asked)(blobs(), image, target)
    assert said in str(raised.value)


def test_a_margin_needs_two_classes() -> None:
    net = Network.open(nn.Sequential(nn.Conv2d(1, 1, 3), nn.Flatten()), (1, 3, 3))
    with pytest.raises(UsageError, match="a margin needs other classes"):
        DenseScan(score="margin")(net, torch.zeros(1, 5, 5), 0)


def test_results_are_kept_and_drawn(tmp_path: Any) -> None:
    from convscope import store

    found = DenseScan(scales="1,0.5")(blobs(), spot(12, 17), "dot")
    for name, result in (("heat", found.heatmap), ("peaks", found.peaks), ("picture", found.picture)):
        result.save(tmp_path / f"{name}.npz")
        again = store.read(tmp_path / f"{name}.npz")
        assert str(again) == str(result)
        assert result.save(tmp_path / f"{name}.png").stat().st_size > 1000
    assert "way: dilated" in str(found.heatmap)
    assert "hatched" in str(found.heatmap)
