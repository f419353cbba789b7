"""Images as rows of blocks, and back.

    (B, C, H, W)  ↔  (B, T, C·k·k)        T = (H/k)·(W/k) blocks, row by row; in a block channel, then row, then column

This is the order in which a convolution's weight (U, C, k, k) lies, so a key acts on filters as it does on images.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from convscope.errors import ShapeError

Array = NDArray[Any]


def split(images: Array, side: int) -> Array:
    """(B, C, H, W) → (B, T, C·k·k), k = `side`. Errors: ShapeError where H or W is no multiple of k.

    >>> split(np.arange(16).reshape(1, 1, 4, 4), 2)[0, 1].tolist()
    [2, 3, 6, 7]
    """
    if images.ndim != 4:
        raise ShapeError("images must be (B, C, H, W)", f"got {images.shape}", "add the missing axes")
    b, c, height, width = images.shape
    if height % side or width % side or not height or not width:
        raise ShapeError(f"blocks of {side}×{side} do not tile {height}×{width} pixels",
                         f"{height % side} rows and {width % side} columns are left over",
                         f"resize or crop to multiples of {side}, or take another block")
    h, w = height // side, width // side
    cut = images.reshape(b, c, h, side, w, side).transpose(0, 2, 4, 1, 3, 5)
    return np.ascontiguousarray(cut).reshape(b, h * w, c * side * side)


def join(rows: Array, side: int, shape: tuple[int, int, int]) -> Array:
    """(B, T, C·k·k) → (B, C, H, W) with `shape` = (C, H, W)."""
    c, height, width = shape
    h, w = height // side, width // side
    cut = rows.reshape(len(rows), h, w, c, side, side).transpose(0, 3, 1, 4, 2, 5)
    return np.ascontiguousarray(cut).reshape(len(rows), c, height, width)
