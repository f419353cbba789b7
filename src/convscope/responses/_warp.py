"""Move, turn and enlarge images where the network reads them, bilinearly, and say what enters from beyond the border.

    y[p] = x[M (p − c) + c − d]      c: the middle of the image, p: (row, column)

Whole pixels are moved exactly. Beyond the border: 'reflect' mirrors at the outermost pixels, 'circular' goes round,
'zero' is 0 in the network's input.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

BORDERS = ("reflect", "circular", "zero")
Coordinates = NDArray[np.float64]


@dataclass(frozen=True)
class Move:
    """One transformation: its name, how much of it, and its M and d above."""

    name: str
    amount: float
    matrix: NDArray[np.float64] = field(default_factory=lambda: np.eye(2))
    shift: tuple[int, int] = (0, 0)


def turned(degrees: float) -> Move:
    """Counter-clockwise as one sees the image (rows go down)."""
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return Move("rotate", degrees, np.array([[c, s], [-s, c]]))


def scaled(factor: float) -> Move:
    """What is on the image becomes `factor` times as large."""
    return Move("scale", factor, np.eye(2) / factor)


def warp(x: Tensor, move: Move, border: str) -> tuple[Tensor, float]:
    """The images (B, C, H, W) moved, and the share 0 … 1 of their area that comes from beyond the border.

    Where the image shrinks, each pixel is the mean of as many samples as its area then covers.
    """
    h, w = x.shape[-2:]
    grid = int(np.ceil(np.linalg.norm(move.matrix, 2) - 1e-9))
    steps = (np.arange(grid) + 0.5) / grid - 0.5
    total, outside = torch.zeros_like(x), 0.0
    for dy in steps:
        for dx in steps:
            rows, columns = _sources(move, (h, w), dy, dx)
            total += _bilinear(x, rows, columns, border)
            beyond = (rows < -0.5) | (rows > h - 0.5) | (columns < -0.5) | (columns > w - 0.5)
            outside += float(beyond.mean())
    return total / grid**2, outside / grid**2


def _sources(move: Move, size: tuple[int, int], dy: float, dx: float) -> tuple[Coordinates, Coordinates]:
    """(H, W) rows and columns that each pixel is read from; those within 10⁻⁹ of a whole number are whole."""
    middle = (np.array(size) - 1) / 2
    p = np.moveaxis(np.indices(size), 0, -1) + np.array([dy, dx]) - middle
    found = p @ move.matrix.T + middle - np.array(move.shift)
    near = np.rint(found)
    found = np.where(np.abs(found - near) < 1e-9, near, found)
    return found[..., 0], found[..., 1]


def _bilinear(x: Tensor, rows: Coordinates, columns: Coordinates, border: str) -> Tensor:
    h, w = x.shape[-2:]
    flat, found = x.flatten(2), torch.zeros_like(x)
    top, left = np.floor(rows).astype(np.int64), np.floor(columns).astype(np.int64)
    for i in (0, 1):
        for j in (0, 1):
            weight = np.abs(1 - i - (rows - top)) * np.abs(1 - j - (columns - left))
            (r, inside_r), (c, inside_c) = folded(top + i, h, border), folded(left + j, w, border)
            weights = torch.from_numpy(weight * (inside_r & inside_c)).to(x.device, x.dtype)
            found += flat[:, :, torch.from_numpy(r * w + c).to(x.device)] * weights
    return found


def folded(k: NDArray[np.int64], n: int, border: str) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Indices back into 0 … n − 1, and which count at all.

    >>> folded(np.array([-2, 0, 4, 5]), 4, "reflect")[0].tolist()
    [2, 0, 2, 1]
    """
    if border == "zero":
        return np.clip(k, 0, n - 1), (k >= 0) & (k < n)
    if border == "circular":
        return k % n, np.ones(k.shape, bool)
    period = max(2 * (n - 1), 1)
    k = k % period
    return np.where(k < n, k, period - k), np.ones(k.shape, bool)


def shifts(side: int, most: int, steps: int, stride: int | None) -> list[int]:
    """Whole shifts up to `most`, evenly spaced, and the multiples of `stride` nearest to them.

    >>> shifts(32, 8, 2, 3)
    [3, 4, 6, 8]
    """
    most = min(most, side)
    even = np.linspace(0, most, steps + 1)[1:]
    found = {max(1, round(float(d))) for d in even}
    if stride is not None and stride <= most:
        found |= {stride * min(max(1, round(float(d) / stride)), most // stride) for d in even}
    return sorted(found)
