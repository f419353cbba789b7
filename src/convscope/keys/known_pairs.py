"""Find the key from images that are known both plain and keyed.

    orthogonal    least squares    Q̂ᵀ = X⁺·Y                     X, Y: (M, n) known blocks, one a row
                  Procrustes       Q̂ = V·Uᵀ with X·ᵀY = U·Σ·Vᵀ    (Schönemann 1966): the orthogonal matrix that fits best
    permutation   p(i) = the pixel j whose values over all known blocks are those of keyed number i
    shuffle       s(t) = the block whose pixels over all known images are those of keyed block t

Least squares is exact once X has rank n; Procrustes, which knows that Q is orthogonal, from rank n − 1 up to a sign. The two
assignments are exact as soon as no two pixels (blocks) are alike in the known images. What the known images never show
(a corner that is always black) stays unknown, and does not matter where the others do not show it either.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from convscope.errors import UsageError
from convscope.keys import blocks
from convscope.keys.known import Images, Known, Rebuilt

METHODS = ("procrustes", "least squares")
Rows = NDArray[np.float64]


def from_pairs(keyed: Images, known: Known, method: str = "procrustes") -> Rebuilt:
    """The images with the key undone that the known pairs give. Errors: UsageError without a pair, or a wrong method."""
    if method not in METHODS:
        raise UsageError(f"no method {method!r} for known pairs", f"there are {', '.join(METHODS)}", "choose one")
    if not len(known.plain) or known.plain.shape != known.keyed.shape:
        raise UsageError("known pairs are plain images and the same ones keyed",
                         f"got {known.plain.shape} and {known.keyed.shape}", "give at least one pair")
    x, y = blocks.split(known.plain, known.block), blocks.split(known.keyed, known.block)
    rows = blocks.split(keyed, known.block)
    if known.kind == "shuffle":
        order = assigned(y.swapaxes(0, 1).reshape(y.shape[1], -1), x.swapaxes(0, 1).reshape(x.shape[1], -1))
        plain = np.empty_like(rows)
        plain[:, order] = rows
        note = f"{len(known.plain)} known pairs: {_alike(x.swapaxes(0, 1).reshape(x.shape[1], -1))} blocks alike in all"
    elif known.kind == "permutation":
        x, y = (v.reshape(-1, v.shape[-1]) for v in (x, y))
        plain = np.empty_like(rows)
        plain[..., assigned(y.T, x.T)] = rows
        note = f"{len(known.plain)} known pairs: {_alike(x.T)} pixels alike in all {len(x)} blocks"
    else:
        x, y = (v.reshape(-1, v.shape[-1]) for v in (x, y))
        plain = rows @ (procrustes(x, y) if method == "procrustes" else least_squares(x, y))
        rank = np.linalg.matrix_rank(x)
        note = f"{len(known.plain)} known pairs: {len(x)} blocks of rank {rank}, of {x.shape[1]} needed"
    return Rebuilt(blocks.join(plain, known.block, keyed.shape[1:]), (note,))


def least_squares(x: Rows, y: Rows) -> Rows:
    """(n, n) M with y·M ≈ x, the one of least norm: the inverse of the key as far as the pairs tell."""
    return np.asarray(np.linalg.lstsq(y, x, rcond=1e-8)[0], np.float64)


def procrustes(x: Rows, y: Rows) -> Rows:
    """(n, n) the orthogonal Q̂ with x·Q̂ᵀ ≈ y, so that y·Q̂ ≈ x.

    >>> q = np.array([[0.0, -1], [1, 0]])
    >>> x = np.random.default_rng(0).random((5, 2))
    >>> bool(np.allclose(procrustes(x, x @ q.T), q))
    True
    """
    u, _, v = np.linalg.svd(y.T @ x)
    return u @ v


def assigned(a: Rows, b: Rows) -> NDArray[np.int64]:
    """(n,) for every row of `a` the row of `b` that it is, each taken once: the least sum of squared distances."""
    cost = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    return linear_sum_assignment(cost)[1].astype(np.int64)


def _alike(rows: Rows) -> int:
    """How many rows have a twin."""
    _, counts = np.unique(rows, axis=0, return_counts=True)
    return int(counts[counts > 1].sum())
