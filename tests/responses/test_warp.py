"""Moved images against NumPy's rolls and turns, SciPy's resampling, and what enters against geometry.

Turns red: in `responses/_warp.py`, `[c, s], [-s, c]` -> `[c, -s], [s, c]`.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from convscope.responses._warp import BORDERS, Move, folded, scaled, shifts, turned, warp

MODES = {"reflect": "mirror", "circular": "grid-wrap", "zero": "grid-constant"}  # SciPy's names


def image(h: int, w: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(2, 3, h, w)))


@pytest.mark.parametrize("d", [1, 3, 7, 9])
def test_shifts_move_every_pixel_exactly(d: int) -> None:
    x = image(9, 7).float()
    for move, axis in ((Move("shift", d, shift=(0, d)), 3), (Move("shift", d, shift=(d, 0)), 2)):
        assert torch.equal(warp(x, move, "circular")[0], x.roll(d, axis))
        n = x.shape[axis]
        width = [(0, 0)] * 4
        width[axis] = (d, 0)
        for border, mode in (("zero", "constant"), ("reflect", "reflect")):
            wanted = np.pad(x.numpy(), width, mode=mode).take(range(n), axis)
            got, entered = warp(x, move, border)
            np.testing.assert_array_equal(got.numpy(), wanted)
            assert entered == pytest.approx(min(d / n, 1))


def test_right_angles_are_exact_and_counter_clockwise() -> None:
    x = image(8, 8).float()
    for k in (1, 2, 3, 4):
        got, entered = warp(x, turned(90.0 * k), "zero")
        np.testing.assert_array_equal(got.numpy(), np.rot90(x.numpy(), k, (2, 3)))
        assert entered == 0


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("move", [turned(33.0), turned(-140.0), scaled(1.7)], ids=["33°", "−140°", "×1.7"])
def test_same_as_scipy(move: Move, border: str) -> None:
    x = image(9, 7)
    middle = (np.array([9, 7]) - 1) / 2
    got, _ = warp(x, move, border)
    offset = middle - move.matrix @ middle
    for b in range(2):
        for c in range(3):
            wanted = ndimage.affine_transform(x[b, c].numpy(), move.matrix, offset, order=1, mode=MODES[border])
            np.testing.assert_allclose(got[b, c], wanted, atol=1e-12)


def test_halving_takes_the_mean_of_four_pixels() -> None:
    x = image(8, 8)
    got, entered = warp(x, scaled(0.5), "circular")
    pooled = torch.nn.functional.avg_pool2d(x, 2)
    torch.testing.assert_close(got[:, :, 2:6, 2:6], pooled)
    assert entered == pytest.approx(1 - 0.5**2)


def test_what_enters() -> None:
    x = image(200, 200)
    assert warp(x, scaled(2.0), "zero")[1] == 0
    # A square turned by 45°: what the turned square leaves of it is 2 − 2/√2·… = 1 − (2√2 − 2)
    assert warp(x, turned(45.0), "zero")[1] == pytest.approx(1 - (2 * np.sqrt(2) - 2), abs=2e-3)


def test_folding_any_distance() -> None:
    k = np.arange(-20, 20)
    line = np.arange(5)
    np.testing.assert_array_equal(folded(k, 5, "reflect")[0], np.pad(line, (20, 15), mode="reflect"))
    np.testing.assert_array_equal(folded(k, 5, "circular")[0], np.pad(line, (20, 15), mode="wrap"))
    index, there = folded(k, 5, "zero")
    np.testing.assert_array_equal(np.flatnonzero(there), np.arange(20, 25))
    assert ((index >= 0) & (index < 5)).all()
    assert folded(k, 1, "reflect")[0].tolist() == [0] * 40


def test_amounts_of_shifts() -> None:
    assert shifts(224, 56, 4, 32) == [14, 28, 32, 42, 56]
    assert shifts(16, 4, 6, 1) == [1, 2, 3, 4]
    assert shifts(16, 4, 2, 8) == [2, 4]  # no multiple is small enough
    assert shifts(8, 100, 2, None) == [4, 8]
