"""How like is one picture to another? Three numbers, each with its definition; NumPy alone.

    PSNR       10·log₁₀(range² / MSE) dB                     ∞ for the same picture
    SSIM       mean of (2mn + c₁)(2s + c₂) / ((m² + n² + c₁)(v + w + c₂)) over Gaussian windows: means m, n, variances v, w,
               covariance s (Wang, Bovik, Sheikh, Simoncelli 2004); 1 for the same picture
    explained  1 − Σ(a − b)² / Σ(a − ā)²                     ā: mean of each channel; 1 for the same picture, 0 for ā itself
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]

WINDOW, SIGMA = 11, 1.5  # px
C1, C2 = 0.01**2, 0.03**2


def psnr(a: NDArray[Any], b: NDArray[Any], white: float = 255.0) -> float:
    """Peak signal-to-noise ratio in dB of two pictures of one shape; `white`: the range of their values.

    >>> round(psnr(np.zeros((4, 4, 3)), np.full((4, 4, 3), 25.5)), 6)
    20.0
    """
    error = float(((a.astype(np.float64) - b.astype(np.float64)) ** 2).mean())
    return math.inf if error == 0 else 10 * math.log10(white**2 / error)


def explained(a: NDArray[Any], b: NDArray[Any]) -> float:
    """The share of the variance of `a` (C, H, W) that `b` explains; below 0 where its mean explains more; NaN if flat."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    spread = float(((a - a.mean((1, 2), keepdims=True)) ** 2).sum())
    return 1 - float(((a - b) ** 2).sum()) / spread if spread > 0 else math.nan


def similarity(a: NDArray[Any], b: NDArray[Any], white: float = 255.0) -> float:
    """The mean SSIM over the channels of two pictures (C, H, W)."""
    pairs = zip(a.astype(np.float64) / white, b.astype(np.float64) / white, strict=True)
    return float(np.mean([ssim(x, y) for x, y in pairs]))


def ssim(a: Floats, b: Floats) -> float:
    """Structural similarity of two maps (H, W) of range 1.

    Gaussian window of 11 px, σ = 1.5 (smaller on smaller maps), means over the places where it fits; constants 0.01² and
    0.03².
    """
    side = window(a.shape)
    weights = np.exp(-((np.arange(side) - side // 2) ** 2) / (2 * SIGMA**2))
    line = weights / weights.sum()

    def mean(x: Floats) -> Floats:
        rows = np.lib.stride_tricks.sliding_window_view(x, side, 0) @ line
        return np.lib.stride_tricks.sliding_window_view(rows, side, 1) @ line

    m, n = mean(a), mean(b)
    var_a, var_b, both = mean(a * a) - m * m, mean(b * b) - n * n, mean(a * b) - m * n
    return float(((2 * m * n + C1) * (2 * both + C2) / ((m * m + n * n + C1) * (var_a + var_b + C2))).mean())


def window(shape: tuple[int, ...]) -> int:
    """The side of SSIM's window on a map: 11 px, or the largest odd number that fits."""
    side = min(WINDOW, *shape)
    return side - (side + 1) % 2
