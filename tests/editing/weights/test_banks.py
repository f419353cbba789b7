"""Banks of filters: what Gabor functions and oriented derivatives answer to.

Mutations that turn this red (each tried): sine for cosine of the angle · the mean of a Gabor filter not taken off · `_slope`
of `_binomial(n)` · `_unit` left out.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import convolve1d

from convscope.editing.weights import banks
from convscope.errors import UsageError


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 40), st.integers(3, 12), st.integers(3, 12), st.sampled_from(["gabor", "sobel"]))
def test_norm_one_mean_zero_any_size(count: int, kh: int, kw: int, name: str) -> None:
    bank, words = getattr(banks, name)(count, (kh, kw))
    assert bank.shape == (count, kh, kw)
    torch.testing.assert_close(bank.flatten(1).norm(dim=1), torch.ones(count))
    assert bank.sum((1, 2)).abs().max() < 1e-5
    assert words


def test_a_gabor_filter_answers_most_to_its_own_grating() -> None:
    bank, words = banks.gabor(24, (13, 13))
    assert words == "4 orientations, wavelengths 3.0 and 6.0 and 12.0 px, phases 0° and 90°"
    y, x = torch.meshgrid(torch.arange(13) - 6.0, torch.arange(13) - 6.0, indexing="ij")
    for i in range(24):
        angle, wave = math.pi * (i // 6) / 4, 3.0 * 2 ** (i // 2 % 3)
        answers = []
        for turn in range(8):
            along = x * math.cos(math.pi * turn / 8) + y * math.sin(math.pi * turn / 8)
            answers.append(max(float((bank[i] * torch.cos(2 * math.pi * along / wave + p)).sum())
                               for p in np.linspace(0, 2 * math.pi, 24)))
        assert int(np.argmax(answers)) == round(angle / math.pi * 8), i


@pytest.mark.parametrize("size", [3, 5, 7])
def test_sobel_is_scipys_smoothing_and_difference(size: int) -> None:
    """scipy's own Sobel filter is the case of 3; larger ones smooth on by [1 2 1]."""
    point = np.zeros((size, size))
    point[size // 2, size // 2] = 1
    for _ in range((size - 3) // 2):
        for axis in (0, 1):
            point = convolve1d(point, [1, 2, 1], axis, mode="constant")
    expected = convolve1d(convolve1d(point, [1, 0, -1], 1, mode="constant"), [1, 2, 1], 0, mode="constant")
    bank, _ = banks.sobel(4, (size, size))
    found = bank[0].double().numpy()
    np.testing.assert_allclose(np.abs(found), np.abs(expected) / np.linalg.norm(expected), atol=1e-6)
    np.testing.assert_allclose(bank[2], -bank[0], atol=1e-6)  # all around
    np.testing.assert_allclose(bank[1], bank[0].T, atol=1e-6)


def test_kernels_that_are_too_small() -> None:
    with pytest.raises(UsageError, match="a Gabor function in a kernel of 1×5; it needs 3×3 at least; choose another"):
        banks.gabor(4, (1, 5))
    with pytest.raises(UsageError, match=r"a derivative in a kernel of 1×1; it needs 2×2 at least"):
        banks.sobel(4, (1, 1))
