"""What losses on classes share: one example, K classes, and a wanted distribution q over them.

    loss = −Σ_k q[k]·log p[k]

q is the wanted distribution times the class weights: for class t, q[k] = weight[k]·((1 − ε)·[k = t] + ε/K) with smoothing ε.
The mean divides by the sum of weight[t] over the examples that count (by their number where targets are distributions).
A leaf says what log p is, and its slope.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

import numpy as np

from convscope.errors import DataError, ShapeError
from convscope.geometry import WHOLE, Window
from convscope.operators._lines import at_text, factor
from convscope.operators._operator import Array, Shape
from convscope.operators._reduce import Loss
from convscope.operators._working import number, terms
from convscope.results import Terms


@dataclass(frozen=True)
class ClassLoss(Loss):
    """A comparison of K numbers with the right class. Never made by itself."""

    ignore_index: int = -100

    arrays: ClassVar = ("x", "target", "weight")
    differentiated: ClassVar = (0,)
    elements: ClassVar = "examples"
    distributions: ClassVar[bool] = False  # may a target be a distribution?
    smoothing: ClassVar[float] = 0.0

    def log_p(self, x: Array) -> Array:
        """The logarithm of every class's probability, in x's shape."""
        raise NotImplementedError

    def slopes(self, x: Array, q: Array) -> Array:
        """∂(an example's own loss)/∂x, in x's shape."""
        raise NotImplementedError

    def output_shape(self, x: Shape, *_: Shape | None) -> Shape:
        return _without(x, _axis(x)) if self.reduction == "none" else ()

    def windows(self, x: Shape, *_: Shape | None) -> tuple[Window | str, ...]:
        """With reduction 'none' the loss keeps the map, though the class axis is gone."""
        return (Window() if self.reduction == "none" else WHOLE,) * max(len(x) - 2, 0)

    def losses(self, x: Array, target: Array, weight: Array = None) -> Array:
        q, _ = self.wanted(x, target, weight)
        # a class that is not wanted costs nothing, even where its probability is 0
        return np.asarray(-(q * np.where(q != 0, self.log_p(x), 0)).sum(axis=_axis(x.shape)))

    def forward(self, x: Array, target: Array, weight: Array = None) -> Array:
        losses = self.losses(x, target, weight)
        if self.reduction == "none":
            return losses[()]
        return losses.sum() / self.wanted(x, target, weight)[1] if self.reduction == "mean" else losses.sum()

    def backward(self, delta: Array, x: Array, target: Array, *weight: Array) -> tuple[Array, ...]:
        q, n = self.wanted(x, target, weight[0] if weight else None)
        share = np.expand_dims(delta, _axis(x.shape)) if self.reduction == "none" else np.asarray(delta, x.dtype)
        share = share / n if self.reduction == "mean" else share
        return share * self.slopes(x, q), None, *(None for _ in weight)

    # --- written out ---------------------------------------------------------------------------------------------------

    def divisor(self, *arrays: Any) -> float:
        return float(self.wanted(*arrays)[1])

    def element_of(self, at: tuple[int, ...], *arrays: Any) -> tuple[int, ...]:
        return _without(at, _axis(arrays[0].shape))

    def shared_by(self, *shapes: Shape | None) -> str:
        x = shapes[0]
        assert x is not None
        n = prod(_without(x, _axis(x)))
        if len(shapes) > 2 and shapes[2] is not None:
            return f"divided by the class weights of the {n} examples, added up"
        return f"divided by the {n} example{'' if n == 1 else 's'} of the mean, less those of class {self.ignore_index}" \
            if self.ignore_index >= 0 else f"divided by the {n} example{'' if n == 1 else 's'} of the mean"

    def loss_text(self, at: tuple[int, ...], *arrays: Any) -> str:
        x, axis = arrays[0], _axis(arrays[0].shape)
        here = (*at[:axis], slice(None), *at[axis:])
        q, log_p = self.wanted(*arrays)[0][here], self.log_p(x)[here]
        value = -float((q[q != 0] * log_p[q != 0]).sum()) + 0.0
        chosen = np.flatnonzero(q)
        if not len(chosen):
            return "0 (its class does not count)"
        if len(chosen) == 1 and q[chosen[0]] == 1:
            return f"−log p[{chosen[0]}] = −log {number(np.exp(log_p[chosen[0]]))} = {number(value)}"
        if len(chosen) == 1:
            return f"−{number(q[chosen[0]])}·log p[{chosen[0]}] = −{number(q[chosen[0]])}·{factor(log_p[chosen[0]])} = " \
                   f"{number(value)}"
        return f"−Σ_k q[k]·log p[k] over {len(chosen)} classes = {number(value)}"

    def products(self, *arrays: Any) -> Terms:
        q = self.wanted(*arrays)[0]
        places = np.argwhere(q != 0)
        return terms(("q", places, q[q != 0]), ("−log p", places, -self.log_p(arrays[0])[q != 0]))

    def place_text(self, at: tuple[int, ...], x: Array) -> tuple[int, str]:
        """Which class x[at] is the number of, and which example: 3, 'example 0'."""
        axis = _axis(x.shape)
        rest = _without(at, axis)
        return at[axis], f"example {rest[0] if len(rest) == 1 else at_text(rest)}" if rest else "the example"

    # --- targets -------------------------------------------------------------------------------------------------------

    def wanted(self, x: Array, target: Array, weight: Array = None) -> tuple[Array, Array]:
        """q in x's shape, and what the mean divides by."""
        axis, classes = _axis(x.shape), x.shape[_axis(x.shape)]
        if weight is not None and weight.shape != (classes,):
            raise ShapeError(f"class weights of shape {weight.shape} for {classes} classes", "", "use one weight a class")
        along = (-1, *(1,) * (x.ndim - 1 - axis))
        weights = (np.ones(classes, x.dtype) if weight is None else weight).reshape(along)
        uniform, rest = self.smoothing / classes, 1 - self.smoothing
        if self.distributions and target.shape == x.shape and np.issubdtype(target.dtype, np.floating):
            return self._counted(weights * (rest * target + uniform), np.asarray(target.size // classes, x.dtype))
        if target.shape != _without(x.shape, axis) or target.dtype.kind not in "iu":
            raise ShapeError(f"a target of shape {target.shape} and {target.dtype} for logits of shape {x.shape}",
                             f"axis {axis} counts {classes} classes",
                             "give one class index an example" + ", or distributions" * self.distributions)
        counts = target != self.ignore_index
        wrong = target[counts & ((target < 0) | (target >= classes))]
        if wrong.size:
            raise DataError(f"there is no class {wrong[0]}", f"the output has {classes} classes, 0 … {classes - 1}",
                            "check labels and the width of the last layer")
        chosen = (np.expand_dims(target, axis) == np.arange(classes).reshape(along)).astype(x.dtype)
        chosen, weights = chosen * np.expand_dims(counts, axis), weights * np.expand_dims(counts, axis)
        return self._counted(weights * (rest * chosen + uniform), (weights * chosen).sum())

    def _counted(self, q: Array, count: Array) -> tuple[Array, Array]:
        if self.reduction == "mean" and not count > 0:
            raise DataError("the mean loss over no examples", "none counts: empty batch, all ignored, or of weight 0",
                            "leave such a batch out, or use reduction 'sum'")
        return q, count


def _axis(x: Shape) -> int:
    """The axis of the classes."""
    return min(1, len(x) - 1)


def _without(at: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return at[:axis] + at[axis + 1:]
