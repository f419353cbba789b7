"""Points in the plane for vectors, and the cells of a grid over them.

    t-SNE by openTSNE (Poličar, Stražar, Zupan 2019), started from the first two principal components
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convscope import chance

Array = NDArray[np.float64]
Progress = Callable[[int, int, str], None]
EXAGGERATED, EVERY = 250, 25  # steps with exaggerated attraction, before the others; steps between two reports
ENDS = (1.0, 99.0)  # percentiles: points beyond lie in the outermost cells


def embedded(reduced: Array, perplexity: float, iterations: int, seed: int, progress: Progress | None = None) -> Array:
    """(N, 2) from principal components (N, k), in one thread: its sums depend on how many there are.

    `progress(done, total, of what)` is told every 25 steps, and may raise to stop.
    """
    with chance.kept():
        from openTSNE import TSNE as Embedding

    start = reduced[:, :2] * (1e-4 / reduced[:, 0].std())  # small, so that the first steps are even
    settings: dict[str, Any] = {"perplexity": perplexity, "n_iter": iterations, "random_state": seed}
    if progress is not None:
        done = itertools.count(EVERY, EVERY)
        tell = lambda *_: progress(next(done), EXAGGERATED + iterations, "t-SNE")  # noqa: E731 - None: go on
        settings |= {"callbacks": tell, "callbacks_every_iters": EVERY}
    embedding = Embedding(**settings, n_jobs=1, neighbors="exact", initialization=start, verbose=False,
                          early_exaggeration_iter=EXAGGERATED)
    return np.array(embedding.fit(reduced))


def cells(points: Array, side: int) -> NDArray[np.int64]:
    """(N,) the cell of each point on a grid of side × side, row by row from the top; y grows upwards.

    The grid spans the 1st to the 99th percentile along each axis, so that a few far points do not leave it empty.

    >>> cells(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]), 2).tolist()
    [2, 3, 0, 1]
    """
    low, high = np.percentile(points, ENDS, axis=0)
    share = (points - low) / np.where(high > low, high - low, 1)
    x, y = np.clip((share * side).astype(np.int64), 0, side - 1).T
    return (side - 1 - y) * side + x


def spread(drawn: NDArray[np.int64], count: int, values: NDArray[Any]) -> NDArray[Any]:
    """Values of some cells as values of all; of the others NaN, −1 or no words.

    >>> spread(np.array([1]), 3, np.array([0.5])).tolist()
    [nan, 0.5, nan]
    """
    nothing: Any = {"f": np.nan, "i": -1, "U": ""}[values.dtype.kind]
    every = np.full(count, nothing, values.dtype)
    every[drawn] = values
    return every
