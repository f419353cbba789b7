"""Broadcasting and its backward pass: what was copied forwards is summed backwards."""

from __future__ import annotations

from typing import Any

import numpy as np

from convscope.errors import ShapeError


def broadcast_shape(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The common shape of arrays that meet element by element; ShapeError if there is none.

    >>> broadcast_shape((2, 8, 5, 5), (8, 1, 1))
    (2, 8, 5, 5)
    """
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError as error:
        listed = " and ".join(map(str, shapes))
        raise ShapeError(f"shapes {listed} do not broadcast", "from the end, sizes must be equal or 1",
                         "make the branches equally large") from error


def summed_to(gradient: Any, shape: tuple[int, ...]) -> Any:
    """The gradient of an array of `shape` that was broadcast: the sum over all its copies.

    >>> summed_to(np.ones((2, 3, 4)), (3, 1)).ravel().tolist()
    [8.0, 8.0, 8.0]
    """
    extra = gradient.ndim - len(shape)
    axes = (*range(extra), *(extra + a for a, n in enumerate(shape) if n == 1 and gradient.shape[extra + a] != 1))
    return gradient.sum(axis=axes).reshape(shape) if axes else gradient.copy()
