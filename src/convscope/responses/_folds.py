"""Held-out folds for labelled rows: every class in every fold, and rows that are equal never on both sides."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Indices = NDArray[np.int64]


def twins(vectors: Array) -> Indices:
    """(N,): for each row the number of the first row that is equal to it.

    >>> twins(np.array([[1.0, 2.0], [0.0, 0.0], [1.0, 2.0]])).tolist()
    [0, 1, 0]
    """
    _, first, group = np.unique(vectors + 0.0, axis=0, return_index=True, return_inverse=True)  # −0 becomes 0
    return first[group.reshape(-1)]


def dealt(labels: Indices, first: Indices, folds: int, seed: int) -> Indices:
    """(N,): the fold of each row. Of each class the distinct rows are shuffled and dealt out in turn.

    A class starts where the last one ended, so that the folds are of one size. A row goes where its twin goes.
    """
    rng = np.random.default_rng(seed)
    fold, at = np.zeros(len(labels), np.int64), 0
    distinct = np.unique(first)
    for label in np.unique(labels):
        members = rng.permutation(distinct[labels[distinct] == label])
        fold[members] = (at + np.arange(len(members))) % folds
        at += len(members)
    return fold[first]


def wilson(right: NDArray[np.integer], n: NDArray[np.integer], z: float = 1.959964) -> tuple[Array, Array]:
    """Both ends of the 95 % interval of a share right/n (Wilson 1927).

    (p + z²/2n ± z √(p(1 − p)/n + z²/4n²)) / (1 + z²/n)

    >>> [round(float(v[0]), 3) for v in wilson(np.array([9]), np.array([10]))]
    [0.596, 0.982]
    """
    p = right / n
    middle, width = p + z**2 / (2 * n), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return np.maximum((middle - width) / (1 + z**2 / n), 0), np.minimum((middle + width) / (1 + z**2 / n), 1)
