"""Principal components by scikit-learn, with the sign made certain: what PCA shows and what t-SNE starts from."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from convscope import chance

Array = NDArray[np.float64]


def components(vectors: Array, k: int) -> tuple[Array, Array]:
    """Points (N, k) on the first k components and their shares of the variance (k,); zeros where there are fewer than k.

    In each component the unit with the largest absolute weight is positive; of equals, the first.

    >>> points, shares = components(np.array([[0.0, 0.0], [2.0, 0.0]]), 2)
    >>> points.tolist(), shares.tolist()
    ([[-1.0, 0.0], [1.0, 0.0]], [1.0, 0.0])
    """
    with chance.kept():
        from sklearn.decomposition import PCA

    n, units = vectors.shape
    points, shares = np.zeros((n, k)), np.zeros(k)
    there = min(k, n - 1, units)
    if there < 1 or not (vectors != vectors[0]).any():
        return points, shares
    # Neither solver draws random numbers; the one works on U × U, the other on N × U.
    fitted: Any = PCA(there, svd_solver="covariance_eigh" if n >= units else "full").fit(vectors)
    strongest = fitted.components_[np.arange(there), np.abs(fitted.components_).argmax(1)]
    points[:, :there] = ((vectors - fitted.mean_) @ fitted.components_.T) * np.where(strongest < 0, -1.0, 1.0)
    shares[:there] = fitted.explained_variance_ratio_
    return points, shares
