"""How many directions a layer really uses: correlations between units, and counts of their eigenvalues λ.

    C = Zᵀ Z      Z[n, u] = (x[n, u] − mean_u) / (σ_u √N)          Pearson's correlation over N images
    effective rank        exp(−Σ p log p), p = λ / Σ λ              Roy and Vetterli 2007
    participation ratio   (Σ λ)² / Σ λ²                             Gao et al. 2017
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
STILL = 1e-6  # a unit whose deviation is below this share of its largest value varies by float32 rounding only


def standardised(vectors: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Z (N, L) of the L units that vary, each of length 1, and which of the U they are (U,)."""
    centred = vectors - vectors.mean(0)
    lengths = np.sqrt((centred**2).sum(0))
    lives = lengths > STILL * np.abs(vectors).max(0) * np.sqrt(len(vectors))
    return centred[:, lives] / lengths[lives], lives


def correlations(z: Array) -> Array:
    """(L, L): symmetric to the bit, ones on the diagonal, never beyond ±1."""
    found = z.T @ z
    found = np.clip((found + found.T) / 2, -1, 1)
    np.fill_diagonal(found, 1)
    return found


def eigenvalues(z: Array) -> Array:
    """The eigenvalues of Zᵀ Z that need not be zero, falling: from the smaller of Zᵀ Z and Z Zᵀ, which share them."""
    gram = z.T @ z if z.shape[1] <= len(z) else z @ z.T
    return np.maximum(np.linalg.eigvalsh(gram)[::-1], 0)


def effective_rank(values: Array) -> float:
    """exp of the entropy of the eigenvalues' shares: 1 … their number.

    >>> effective_rank(np.array([1.0, 1.0, 0.0]))
    2.0
    """
    p = values[values > 0] / values.sum()
    return float(np.exp(-(p * np.log(p)).sum()))


def participation_ratio(values: Array) -> float:
    """(Σ λ)² / Σ λ²: 1 … their number."""
    return float(values.sum() ** 2 / (values**2).sum())


def components_for(values: Array, share: float) -> int:
    """The smallest number of principal components that hold this share of the variance."""
    held = np.cumsum(values) / values.sum()
    return min(int(np.searchsorted(held, share - 1e-12)) + 1, len(values))


def chance_level(images: int, pairs: int, level: float = 0.05) -> float:
    """|r| that independent normal units reach in no pair, with probability 1 − level (Fisher's z, Bonferroni); 1: N < 4."""
    if images < 4:
        return 1.0
    from scipy.stats import norm

    return float(np.tanh(norm.isf(level / (2 * pairs)) / np.sqrt(images - 3)))


def clustered(correlation: Array, exact: int = 512) -> NDArray[np.int64]:
    """An order (L,) that puts alike units beside each other: average linkage of 1 − r; leaves turned up to `exact` units."""
    if len(correlation) < 3:
        return np.arange(len(correlation))
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    distance = squareform(1 - correlation, checks=False)
    return leaves_list(linkage(distance, "average", optimal_ordering=len(correlation) <= exact)).astype(np.int64)
