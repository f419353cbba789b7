"""The loss of a network that gives probabilities, or their logarithms: the surprise at the right class.

    loss = −log p[target]        ∂loss/∂p = −q/p, and by log p: −q, q being 1 at the target and 0 elsewhere

Source: Good 1952, "Rational Decisions".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from convscope.errors import DataError, ShapeError
from convscope.operators._operator import Array
from convscope.operators._reduce import Loss


@dataclass(frozen=True)
class LogLoss(Loss):
    """How surprised are we by the right class, given probabilities (or with `log` their logarithms)?

    Shapes: x (B, K), target (B,) class indices; y () or, with reduction 'none', (B,). Units: nats.
    Raises ShapeError where sizes do not fit, DataError for a class outside 0 … K − 1.
    Misleads: p = 0 at the target gives infinity; cross-entropy of scores does not. Source: Good 1952.

    >>> print(LogLoss().forward(np.array([[0.25, 0.75]]), np.array([0])).round(4))
    1.3863
    """

    log: bool = False

    formula: ClassVar = "loss = −log p[target], mean over examples"

    def output_shape(self, x: tuple[int, ...], *_: tuple[int, ...] | None) -> tuple[int, ...]:
        return x[:1] if self.reduction == "none" else ()

    def forward(self, x: Array, target: Array) -> Array:
        picked = (x * self._chosen(x, target)).sum(axis=1)
        return self.reduced(-picked if self.log else -np.log(picked))

    def backward(self, delta: Array, x: Array, target: Array) -> tuple[Array, None]:
        share = self.spread(delta, np.zeros(len(x), x.dtype))
        share = share[:, None] if np.ndim(share) else share
        chosen = self._chosen(x, target)
        return -share * (chosen if self.log else np.divide(chosen, x, out=np.zeros_like(chosen), where=chosen > 0)), None

    def _chosen(self, x: Array, target: Array) -> Array:
        """q: one at each example's class."""
        if x.ndim != 2 or target.shape != x.shape[:1]:
            raise ShapeError(
                f"a target of shape {target.shape} for probabilities of shape {x.shape}",
                "",
                "x is (B, K), target one class index an example",
            )
        if ((target < 0) | (target >= x.shape[1])).any():
            raise DataError(
                f"there is a class outside 0 … {x.shape[1] - 1}",
                f"the output has {x.shape[1]} classes",
                "check labels and the width of the last layer",
            )
        return (target[:, None] == np.arange(x.shape[1])).astype(x.dtype)
