"""Cross-entropy: the surprise at the right class, given scores for all of them.

    loss = −Σ_k q[k]·log p[k],  p = softmax(x)        ∂loss/∂x = p·Σ_k q[k] − q

q is the wanted distribution times the class weights: for class t, q[k] = weight[k]·((1 − ε)·[k = t] + ε/K) with smoothing ε.
The mean divides by the sum of weight[t] over the examples that count (by their number where targets are distributions).

Sources: Good 1952 (logarithmic score); Bridle 1990 (with softmax); smoothing: Szegedy et al. 2016.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from convscope.errors import DataError, ShapeError
from convscope.geometry import WHOLE, Window
from convscope.operators._operator import Array, Shape
from convscope.operators._reduce import Loss
from convscope.operators.log_softmax import LogSoftmax


@dataclass(frozen=True)
class CrossEntropy(Loss):
    """How surprised are we by the right class?

    Shapes: x (B, K) or (B, K, H, W) logits, or (K,) for one example; target class indices (B,) or (B, H, W), or
    distributions of x's shape; weight (K,) or None; y () or, with reduction 'none', x's shape without K.
    Target and weight get no gradient (None).
    Units: nats; log K means no idea at all. Examples of class `ignore_index` do not count.
    Raises DataError for a class outside 0 … K − 1 or when no example counts, ShapeError where sizes do not fit.
    Misleads: x must be logits; probabilities are accepted too, and softmax is then applied twice.

    >>> import numpy as np
    >>> print(CrossEntropy().forward(np.zeros((2, 10)), np.array([3, 7])).round(4))  # log 10
    2.3026
    """

    ignore_index: int = -100
    label_smoothing: float = 0.0

    aten: ClassVar = ("cross_entropy_loss",)
    arrays: ClassVar = ("x", "target", "weight")
    formula: ClassVar = "loss = −log(e^x[target] / Σ_j e^x[j]), mean over examples"

    def output_shape(self, x: Shape, *_: Shape | None) -> Shape:
        axis = min(1, len(x) - 1)
        return x[:axis] + x[axis + 1:] if self.reduction == "none" else ()

    def windows(self, x: Shape, *_: Shape | None) -> tuple[Window | str, ...]:
        """With reduction 'none' the loss keeps the map, though the class axis is gone."""
        return (Window() if self.reduction == "none" else WHOLE,) * max(len(x) - 2, 0)

    def forward(self, x: Array, target: Array, weight: Array = None) -> Array:
        axis = min(1, x.ndim - 1)
        q, count = self._wanted(x, target, weight)
        losses = -(q * LogSoftmax(axis).forward(x)).sum(axis=axis)
        if self.reduction == "none":
            return losses
        return losses.sum() / count if self.reduction == "mean" else losses.sum()

    def backward(self, delta: Array, x: Array, target: Array, *weight: Array) -> tuple[Array, ...]:
        axis = min(1, x.ndim - 1)
        q, count = self._wanted(x, target, weight[0] if weight else None)
        share = np.expand_dims(delta, axis) if self.reduction == "none" else np.asarray(delta, x.dtype)
        share = share / count if self.reduction == "mean" else share
        grad = share * (np.exp(LogSoftmax(axis).forward(x)) * q.sum(axis=axis, keepdims=True) - q)
        return grad, None, *(None for _ in weight)

    def _wanted(self, x: Array, target: Array, weight: Array) -> tuple[Array, Array]:
        """q in x's shape, and what the mean divides by."""
        axis, classes = min(1, x.ndim - 1), x.shape[min(1, x.ndim - 1)]
        if weight is not None and weight.shape != (classes,):
            raise ShapeError(f"class weights of shape {weight.shape} for {classes} classes", "", "use one weight a class")
        along = (-1, *(1,) * (x.ndim - 1 - axis))
        weights = (np.ones(classes, x.dtype) if weight is None else weight).reshape(along)
        uniform = self.label_smoothing / classes
        if target.shape == x.shape and np.issubdtype(target.dtype, np.floating):
            count = np.asarray(target.size // classes, x.dtype)
            return self._counted(weights * ((1 - self.label_smoothing) * target + uniform), count)
        if target.shape != x.shape[:axis] + x.shape[axis + 1:] or target.dtype.kind not in "iu":
            raise ShapeError(f"a target of shape {target.shape} and {target.dtype} for logits of shape {x.shape}",
                             f"axis {axis} counts {classes} classes", "give one class index an example, or distributions")
        counts = target != self.ignore_index
        wrong = target[counts & ((target < 0) | (target >= classes))]
        if wrong.size:
            raise DataError(f"there is no class {wrong[0]}", f"the output has {classes} classes, 0 … {classes - 1}",
                            "check labels and the width of the last layer")
        chosen = (np.expand_dims(target, axis) == np.arange(classes).reshape(along)).astype(x.dtype)
        chosen, weights = chosen * np.expand_dims(counts, axis), weights * np.expand_dims(counts, axis)
        return self._counted(weights * ((1 - self.label_smoothing) * chosen + uniform), (weights * chosen).sum())

    def _counted(self, q: Array, count: Array) -> tuple[Array, Array]:
        if self.reduction == "mean" and not count > 0:
            raise DataError("the mean loss over no examples", "none counts: empty batch, all ignored, or of weight 0",
                            "leave such a batch out, or use reduction 'sum'")
        return q, count
