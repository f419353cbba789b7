"""Local response normalisation: a channel is damped where its neighbouring channels are active.

    y[c] = x[c] / D[c]^beta        D[c] = k + (alpha/size) · Σ_j x[j]²,  j = c − ⌊size/2⌋ … c + ⌊(size − 1)/2⌋

Channels beyond the ends count as 0. Krizhevsky et al. 2012 write alpha where we write alpha/size, as PyTorch does: their
alpha = 1e-4 with 5 channels is alpha = 5e-4 here, and their k is 2.

Source: Krizhevsky, Sutskever, Hinton 2012, "ImageNet Classification with Deep Convolutional Neural Networks", section 3.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from convscope.errors import ShapeError, UsageError
from convscope.operators._operator import Array, Operator


@dataclass(frozen=True)
class LocalResponseNorm(Operator):
    """How strong is a channel compared with its neighbours at the same position?

    Shapes: x and y (B, C, H, W), any number of spatial axes. No MACs by our definition, nothing learned.
    Raises ShapeError without a spatial axis, UsageError for an empty window.
    Misleads: neighbouring channels have no meaning of their own; training makes it.

    >>> import numpy as np
    >>> LocalResponseNorm(size=1, alpha=1.0, beta=0.5).forward(np.full((1, 1, 1), 2.0)).round(4)  # 2/√(1 + 4)
    array([[[0.8944]]])
    """

    size: int
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0

    aten: ClassVar = ()  # an exported graph holds its parts: mul, pad, avg_pool3d (avg_pool2d for 3 axes), add, pow, div
    formula: ClassVar = "y[c] = x[c] / (k + alpha/size · Σ_{j near c} x[j]²)^beta"

    def forward(self, x: Array) -> Array:
        return x * self._denominator(x) ** -self.beta

    def backward(self, delta: Array, x: Array) -> tuple[Array]:
        """∂L/∂x[c] = δ[c]·D[c]^−beta − 2·alpha·beta/size · x[c] · Σ_{j whose window holds c} δ[j]·x[j]·D[j]^(−beta − 1)."""
        d = self._denominator(x)
        heard = self._sum(delta * x * d ** (-self.beta - 1), before=(self.size - 1) // 2, after=self.size // 2)
        return (delta * d**-self.beta - (2 * self.alpha * self.beta / self.size) * x * heard,)

    def _denominator(self, x: Array) -> Array:
        if x.ndim < 3:
            raise ShapeError(f"local response normalisation of an input of shape {x.shape}", "there is no spatial axis",
                             "use (B, C, H, W)")
        if self.size < 1:
            raise UsageError(f"a window of {self.size} channels", "", "size must be at least 1")
        return self.k + (self.alpha / self.size) * self._sum(x * x, before=self.size // 2, after=(self.size - 1) // 2)

    def _sum(self, values: Array, before: int, after: int) -> Array:
        """Sums over `before` channels before to `after` channels after each."""
        ends = [(0, 0), (before, after), *[(0, 0)] * (values.ndim - 2)]
        return sliding_window_view(np.pad(values, ends), self.size, axis=1).sum(axis=-1)
