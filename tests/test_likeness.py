"""PSNR, SSIM and share of variance, against scikit-image and by hand.

Turns red: in `likeness.py`, `10 * math.log10` -> `20 * math.log10` · `a.mean((1, 2), keepdims=True)` -> `a.mean()`.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from convscope import likeness

RNG = np.random.default_rng(0)


def test_psnr_is_scikit_images() -> None:
    a, b = RNG.integers(0, 256, (2, 3, 20, 17), np.uint8)
    assert likeness.psnr(a, b) == pytest.approx(peak_signal_noise_ratio(a, b, data_range=255))
    assert likeness.psnr(a, a) == math.inf


def test_similarity_is_the_mean_over_channels() -> None:
    a, b = RNG.integers(0, 256, (2, 3, 20, 17), np.uint8)
    peer = [structural_similarity(x, y, gaussian_weights=True, sigma=1.5, data_range=255, use_sample_covariance=False)
            for x, y in zip(a.astype(float), b.astype(float), strict=True)]
    assert likeness.similarity(a, b) == pytest.approx(np.mean(peer), abs=1e-9)
    assert likeness.similarity(a, a) == pytest.approx(1)


def test_the_window_fits_small_pictures() -> None:
    assert [likeness.window((n, 50)) for n in (50, 11, 10, 8, 1)] == [11, 11, 9, 7, 1]


def test_variance_explained() -> None:
    a = RNG.normal(size=(3, 5, 4)) + np.array([0.0, 5.0, 9.0])[:, None, None]
    mean = np.broadcast_to(a.mean((1, 2), keepdims=True), a.shape)
    assert likeness.explained(a, mean) == pytest.approx(0, abs=1e-12)  # each channel has a mean of its own
    assert likeness.explained(a, a) == 1
    assert likeness.explained(a, (a + mean) / 2) == pytest.approx(0.75)
    assert math.isnan(likeness.explained(np.ones((1, 3, 3)), np.ones((1, 3, 3))))
