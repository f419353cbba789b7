"""How alike are two sets of responses to the same images? Linear centred kernel alignment (Kornblith et al. 2019).

    K = XXᵀ, L = YYᵀ                                    X (N, p), Y (N, q): one row an image, the same images in both
    CKA(X, Y) = HSIC(K, L) / √(HSIC(K, K) · HSIC(L, L))

    biased     HSIC₀ = ⟨HKH, HLH⟩ / (n − 1)²,  H = I − 11ᵀ/n;  CKA = ‖YᵀX‖²_F / (‖XᵀX‖_F ‖YᵀY‖_F) of centred X, Y
    unbiased   HSIC₁ = ⟨K̃, L̃⟩ / (n(n − 3)),  K̃_ij = K_ij − Σ_l K_il/(n − 2) − Σ_l K_lj/(n − 2) + Σ_kl K_kl/((n − 1)(n − 2))
               off the diagonal, sums without it, and K̃_ii = 0 (Song et al. 2012; Székely and Rizzo 2014); n ≥ 4

The biased one grows towards 1 when there are more features than images; the unbiased one does not, and may fall below 0.
Over minibatches each HSIC is averaged before the quotient (Nguyen, Raghu, Kornblith 2021). Neither changes when X is turned
(XQ, QQᵀ = I: in particular, when its units are put in another order), scaled or moved.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from convscope.errors import DataError

Array = NDArray[np.float64]
FEWEST = {"unbiased": 4, "biased": 2}  # images
ESTIMATORS = tuple(FEWEST)
COLUMNS = 65536  # numbers of each image that are multiplied at a time, in float64


def gram(values: NDArray[Any]) -> Array:
    """(n, n) inner products of the rows of `values` (n, …), each column moved to mean zero first; that changes no CKA.

    >>> gram(np.array([[1.0, 5.0], [3.0, 5.0]])).tolist()
    [[1.0, -1.0], [-1.0, 1.0]]
    """
    rows = np.asarray(values).reshape(len(values), -1)
    found = np.zeros((len(rows), len(rows)))
    for at in range(0, rows.shape[1], COLUMNS):
        part = rows[:, at : at + COLUMNS].astype(np.float64)
        part -= part.mean(0)
        found += part @ part.T
    return found


def centred(kernel: Array, estimator: str = "unbiased") -> Array:
    """(n, n) of a Gram matrix (n, n), such that the inner product of two of them is HSIC up to `scale`.

    Errors: DataError for too few images.
    """
    n = len(kernel)
    if n < FEWEST[estimator]:
        raise DataError(f"{n} images are too few to compare representations",
                        f"the {estimator} estimator needs {FEWEST[estimator]}", "give more images")
    if estimator == "biased":
        means = kernel.mean(0)
        return kernel - means - means[:, None] + means.mean()
    off = kernel.copy()
    np.fill_diagonal(off, 0.0)
    sums = off.sum(0)
    found = off - (sums + sums[:, None]) / (n - 2) + sums.sum() / ((n - 1) * (n - 2))
    np.fill_diagonal(found, 0.0)
    return found


def scale(n: int, estimator: str) -> float:
    """What the inner product of two centred matrices of n images is divided by to be HSIC."""
    return float(n * (n - 3) if estimator == "unbiased" and n > 3 else (n - 1) ** 2)


def quotient(between: Array, first: Array, second: Array) -> Array:
    """(a, b) CKA from HSIC between a and b representations, and of each with itself, (a,), (b,); NaN where it is 0."""
    below = np.sqrt(first[:, None] * second[None, :])
    return np.divide(between, below, out=np.full(between.shape, np.nan), where=below > 0)


def cka(x: NDArray[Any], y: NDArray[Any], estimator: str = "unbiased") -> float:
    """CKA of two representations of the same n images, (n, …) and (n, …): at most 1; NaN where one is the same for all.

    >>> x = np.random.default_rng(0).normal(size=(20, 3))
    >>> round(cka(x, 5 * x[:, ::-1] + 2), 9)
    1.0
    """
    a, b = (centred(gram(v), estimator) for v in (x, y))
    both, first, second = (np.array([float(np.vdot(u, v))]) for u, v in ((a, b), (a, a), (b, b)))
    return float(quotient(both[:, None], first, second)[0, 0])


class Correlation:
    """Pearson's correlation between two sets of units, batch by batch, without keeping the batches (Chan et al. 1983).

    >>> found = Correlation(1, 2)
    >>> found.add(np.array([[1.0], [2.0]]), np.array([[1.0, 5.0], [3.0, 5.0]]))
    >>> found.add(np.array([[6.0]]), np.array([[11.0, 5.0]]))
    >>> found.values().round(9).tolist()
    [[1.0, nan]]
    """

    def __init__(self, first: int, second: int) -> None:
        self.count = 0
        self._means = np.zeros(first), np.zeros(second)
        self._squares = np.zeros(first), np.zeros(second)
        self._products = np.zeros((first, second))

    def add(self, a: Array, b: Array) -> None:
        """Responses (n, U) and (n, V) of the two sets to the same n images or positions."""
        n, before = len(a), self.count
        self.count += n
        share = before * n / self.count
        rows = [v - v.mean(0) for v in (a, b)]
        away = [v.mean(0) - mean for v, mean in zip((a, b), self._means, strict=True)]
        self._products += rows[0].T @ rows[1] + np.outer(*away) * share
        for mean, squares, row, step in zip(self._means, self._squares, rows, away, strict=True):
            squares += (row**2).sum(0) + step**2 * share
            mean += step * (n / self.count)

    def values(self) -> Array:
        """(U, V) correlations, −1 … 1; NaN for a unit that always gave the same, up to the rounding of float32."""
        spreads: list[Array] = []
        for mean, squares in zip(self._means, self._squares, strict=True):
            floor = 1e-7 * np.sqrt(max(self.count, 1)) * np.abs(mean)
            spreads.append(np.where(np.sqrt(squares) > floor, np.sqrt(squares), 0.0))
        below = np.outer(*spreads)
        return np.clip(np.divide(self._products, below, out=np.full(below.shape, np.nan), where=below > 0), -1, 1)
