"""Broadcasting and its backward pass: what was copied forwards is summed backwards."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
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


def copies_of(at: Sequence[int], shape: tuple[int, ...], out: tuple[int, ...]) -> Any:
    """Every place (n, axes) of the broadcast shape `out` that reads number `at` of an array of `shape`.

    >>> copies_of((1, 0), (2, 1), (2, 3)).tolist()
    [[1, 0], [1, 1], [1, 2]]
    """
    extra = len(out) - len(shape)
    free = [range(n) for n in out[:extra]]
    own = [range(m) if n == 1 else (i,) for i, n, m in zip(at, shape, out[extra:], strict=True)]
    places = list(product(*free, *own))
    return np.array(places, np.int64).reshape(len(places), len(out))


def source_of(place: Any, shape: tuple[int, ...]) -> Any:
    """Which number of an array of `shape` is read at a place (axes,) of the broadcast shape; places (n, axes) work alike.

    >>> source_of((1, 2), (2, 1)).tolist(), source_of((5, 1, 2), (3,)).tolist()
    ([1, 0], [2])
    """
    own = np.asarray(place, np.int64)[..., np.shape(place)[-1] - len(shape):]
    return np.where(np.array(shape, np.int64) == 1, 0, own)
