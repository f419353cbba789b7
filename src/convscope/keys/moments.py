"""Means and correlations of the numbers in a block, and of a block with the ones to its right and below.

    mean_i = E x_t[i]      within_ij = cov(x_t[i], x_t[j])      right_ij = cov(x_t[i], x_t'[j]), t' the block right of t

A block-wise key Q turns them into Q·mean, Q·within·Qᵀ, Q·right·Qᵀ: they are what keyed images give away without any pair.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convscope.keys import blocks
from convscope.keys.known import Images

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """(n,) mean and (n, n) covariances of the n = C·k·k numbers of a block; None where no block has such a neighbour."""

    mean: Matrix
    within: Matrix
    right: Matrix | None
    below: Matrix | None

    @property
    def matrices(self) -> list[Matrix]:
        return [m for m in (self.within, self.right, self.below) if m is not None]


def moments(images: Images, side: int) -> Moments:
    """The moments over all blocks of all images."""
    _, _, height, width = images.shape
    h, w = height // side, width // side
    rows = blocks.split(images, side)
    mean = rows.mean((0, 1))
    grid = (rows - mean).reshape(len(images), h, w, -1)

    def over(a: Matrix, b: Matrix) -> Matrix | None:
        n = a.shape[-1]
        return a.reshape(-1, n).T @ b.reshape(-1, n) / (a.size // n) if a.size else None

    within = over(grid, grid)
    assert within is not None
    return Moments(mean, within, over(grid[:, :, :-1], grid[:, :, 1:]), over(grid[:, :-1], grid[:, 1:]))


def correlations(found: Moments) -> list[Matrix]:
    """The covariances over the numbers' standard deviations; 0 where a number never changes."""
    std = np.sqrt(np.diagonal(found.within))
    inverse = np.where(std > 1e-9, 1 / np.where(std > 1e-9, std, 1), 0)
    return [m * inverse[:, None] * inverse for m in found.matrices]
