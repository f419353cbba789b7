"""Drawn scenes: what is labelled is what is drawn; the same for every count; their errors.

Turns red: in `segmenting/scenes.py`, `ink >= 0.5` -> `ink > 0` (labels wider than the shapes).
"""

from __future__ import annotations

import numpy as np
import pytest

from convscope.errors import ShapeError, UsageError
from convscope.segmenting import Labelled, scenes
from convscope.segmenting.scenes import CLASSES


def test_a_scene_depends_on_seed_and_number_only() -> None:
    few, many = scenes(3, 32, seed=5), scenes(6, 32, seed=5)
    assert np.array_equal(few.pixels, many.pixels[:3])
    assert np.array_equal(few.labels, many.labels[:3])
    assert not np.array_equal(few.pixels, scenes(3, 32, seed=6).pixels)
    assert len(few) == 3


def test_every_class_occurs_and_thin_ones_are_thin() -> None:
    labels = scenes(40, 64).labels
    share = np.bincount(labels.reshape(-1), minlength=len(CLASSES)) / labels.size
    assert (share > 0.01).all()
    assert share[0] > 0.6
    for kind, most in ((3, 8), (4, 8)):  # rings and crosses: no square of 8×8 pixels lies inside
        inside = np.lib.stride_tricks.sliding_window_view(labels == kind, (most, most), (1, 2)).all((3, 4))
        assert not inside.any()


def test_labels_follow_the_edges_of_what_is_drawn() -> None:
    """Over a label's border the colour changes by more than within, far more than one pixel off the border."""
    made = scenes(30, 64)
    pixels, labels = made.pixels.astype(float), made.labels
    step = np.abs(np.diff(pixels, axis=2)).sum(3)
    border = np.diff(labels, axis=2) != 0
    off = np.zeros_like(border)
    off[:, :, 2:] = border[:, :, :-2]
    off &= ~border
    assert step[border].mean() > 1.5 * step[off].mean()
    assert step[border].mean() > 4 * step[~border].mean()


def test_errors() -> None:
    with pytest.raises(UsageError, match="0 scenes of 64×64 pixels cannot be drawn"):
        scenes(0)
    with pytest.raises(UsageError, match="1 scenes of 8×8"):
        scenes(1, 8)
    x = np.zeros((2, 4, 4, 3), np.uint8)
    with pytest.raises(ShapeError, match="do not fit; images are"):
        Labelled("mine", x, np.zeros((2, 4, 5), np.int64), ("a",))
    with pytest.raises(UsageError, match="labels run from 0 to 1; there are 1 classes"):
        Labelled("mine", x, np.eye(4, dtype=np.int64)[None].repeat(2, 0), ("a",))
    with pytest.raises(UsageError, match="mine holds no images"):
        Labelled("mine", x[:0], np.zeros((0, 4, 4), np.int64), ("a",))
