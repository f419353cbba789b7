"""Intersection over union, whole and near edges, against loops over pixels; errors.

Turns red: in `segmenting/overlap.py`, `counts.sum(0) + counts.sum(1) - hits` -> `counts.sum(0) + counts.sum(1)`; or the band
of `2 * band + 1` -> `2 * band`.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import Tensor, nn

from convscope.errors import ShapeError, UsageError
from convscope.images import PRESETS
from convscope.segmenting import Labelled, overlaps, predict, scenes
from convscope.segmenting.overlap import confusion, ious, near_edges
from tests.traces import unchanged

maps = hnp.arrays(np.int64, hnp.array_shapes(min_dims=3, max_dims=3, max_side=7), elements=st.integers(-1, 3))


@settings(max_examples=40, deadline=None)
@given(maps, st.integers(0, 100))
def test_iou_is_counted_pixel_by_pixel(labels: np.ndarray, seed: int) -> None:
    found = np.random.default_rng(seed).integers(0, 4, labels.shape)
    wanted = []
    for k in range(4):
        truth = {i for i, v in enumerate(labels.reshape(-1)) if v == k}
        said = {i for i, (v, f) in enumerate(zip(labels.reshape(-1), found.reshape(-1), strict=True)) if v >= 0 and f == k}
        wanted.append(len(truth & said) / len(truth | said) if truth | said else np.nan)
    np.testing.assert_allclose(ious(confusion(labels, found, 4)), wanted)


@settings(max_examples=40, deadline=None)
@given(maps, st.integers(1, 3))
def test_near_edges_is_another_class_within_the_band(labels: np.ndarray, band: int) -> None:
    wanted = np.zeros(labels.shape, bool)
    for n, i, j in np.ndindex(labels.shape):
        near = labels[n, max(0, i - band) : i + band + 1, max(0, j - band) : j + band + 1]
        wanted[n, i, j] = (near != labels[n, i, j]).any()
    assert np.array_equal(near_edges(labels, band), wanted)


class Knows(nn.Module):
    """Answers with the labels that it was given, moved `by` pixels to the right."""

    def __init__(self, data: Labelled, by: int) -> None:
        super().__init__()
        self.labels, self.at = torch.from_numpy(np.roll(data.labels, by, 2)), 0

    def forward(self, x: Tensor) -> Tensor:
        found = self.labels[self.at : self.at + len(x)]
        self.at += len(x)
        return nn.functional.one_hot(found, 5).permute(0, 3, 1, 2).float()


def test_the_truth_has_overlap_one_and_near_edges_a_shift_costs_more() -> None:
    data = scenes(12, 48)
    right = overlaps(Knows(data, 0), data, PRESETS["unit"], batch_size=4)
    assert right.columns["iou"].tolist() == [1.0] * 6
    assert right.columns["pixels"][-1] == data.labels.size
    assert right.columns["class"].tolist() == ["ground", "disc", "box", "ring", "cross", "mean"]
    moved = overlaps(Knows(data, 1), data, PRESETS["unit"], band=1)
    assert moved.columns["iou near edges"][-1] < moved.columns["iou"][-1] < 1
    assert moved.columns["pixels near edges"][-1] == near_edges(data.labels, 1).sum()
    assert moved.columns["iou"][-1] == pytest.approx(np.mean(ious(confusion(data.labels, np.roll(data.labels, 1, 2), 5))))


def test_unknown_pixels_count_nowhere_and_batches_give_what_singles_give() -> None:
    data = scenes(3, 32)
    labels = data.labels.copy()
    labels[:, :10] = -1
    part = Labelled("part", data.pixels, labels, data.classes)
    model = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.BatchNorm2d(5)).train()
    with unchanged(model):
        one, all_ = (overlaps(model, part, PRESETS["signed"], batch_size=b) for b in (1, 3))
        assert np.array_equal(predict(model, data, PRESETS["signed"]), predict(model, data, PRESETS["signed"], 2))
    for key in one.columns:
        np.testing.assert_array_equal(one.columns[key], all_.columns[key])
    assert one.columns["pixels"][-1] == (labels >= 0).sum()


def test_errors() -> None:
    data = scenes(2, 24)
    with pytest.raises(ShapeError, match=r"a segmenter must give scores.*\(1, 5, 22, 22\) for labels of 24×24"):
        overlaps(nn.Conv2d(3, 5, 3), data, PRESETS["unit"], batch_size=1)
    with pytest.raises(ShapeError, match="tells 2 classes apart; 2 drawn scenes, seed 0 has 5"):
        overlaps(nn.Conv2d(3, 2, 1), data, PRESETS["unit"])
    with pytest.raises(UsageError, match="at least one pixel wide"):
        overlaps(nn.Conv2d(3, 5, 1), data, PRESETS["unit"], band=0)
