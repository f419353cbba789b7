"""Operations that are one small matrix along each spatial axis: y = A_h x A_wᵀ (adaptive averages, interpolation).

The backward pass is the same with every matrix transposed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np


def apply(x: Any, matrices: Iterable[Any]) -> Any:
    """Multiply the spatial axes of (B, C, H, W) by one matrix (out, in) each.

    >>> apply(np.ones((1, 1, 2)), [np.array([[1.0, 0], [0.5, 0.5], [0, 1]])]).tolist()
    [[[1.0, 1.0, 1.0]]]
    """
    for axis, matrix in enumerate(matrices, start=2):
        x = np.moveaxis(np.moveaxis(x, axis, -1) @ matrix.T.astype(x.dtype), -1, axis)
    return np.ascontiguousarray(x)


def apply_transposed(delta: Any, matrices: Iterable[Any]) -> Any:
    """The backward pass of `apply`."""
    return apply(delta, [matrix.T for matrix in matrices])
