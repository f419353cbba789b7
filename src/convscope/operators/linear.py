"""The dense layer: every output is a weighted sum of all inputs.

    y[…, k] = bias[k] + Σ_c weight[k, c] · x[…, c]

Source: Rosenblatt 1958, "The Perceptron"; its backward pass Rumelhart, Hinton, Williams 1986.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

from convscope.errors import ShapeError
from convscope.geometry import WHOLE, Window
from convscope.operators._broadcast import broadcast_shape, summed_to
from convscope.operators._operator import Operator, Shape


@dataclass(frozen=True)
class Linear(Operator):
    """Which weighted sum of all its inputs does each output compute?

    Shapes: x (…, C), weight (K, C), bias (K,), y (…, K). Units: macs counts one product per weight and row, the bias not.
    windows: the last axis of x is read whole, every other position by position (on channels-last maps this is a 1×1
    convolution); behind a flatten, x is (B, C) and has no spatial axes. Raises ShapeError where C or K do not fit. Source:
    Rumelhart et al. 1986.

    >>> Linear().output_shape((1, 9216), (4096, 9216), (4096,)), Linear().macs((1, 9216), (4096, 9216))
    ((1, 4096), 37748736)
    """

    aten: ClassVar = ("linear",)
    arrays: ClassVar = ("x", "weight", "bias")
    learned: ClassVar = ("weight", "bias")
    formula: ClassVar = "y[…,k] = bias[k] + Σ_c weight[k,c] · x[…,c]"

    def output_shape(self, x: Shape, weight: Shape, bias: Shape | None = None) -> Shape:
        if len(weight) != 2 or not x or x[-1] != weight[1] or (bias is not None and bias != (weight[0],)):
            raise ShapeError(f"a dense layer of shape {weight} with bias {bias} does not fit an input of shape {x}",
                             f"the last axis of x must be {weight[-1]}", "flatten the input or check the image size")
        return (*x[:-1], weight[0])

    def macs(self, x: Shape, weight: Shape, bias: Shape | None = None) -> int:
        return prod(self.output_shape(x, weight, bias)) * weight[1]

    def windows(self, x: Shape, *rest: Shape) -> tuple[Window | str, ...]:
        return (*(Window() for _ in x[2:-1]), WHOLE) if len(x) > 2 else ()

    def forward(self, x: Any, weight: Any, bias: Any = None) -> Any:
        self.output_shape(x.shape, weight.shape, None if bias is None else bias.shape)
        y = x @ weight.T
        return y if bias is None else y + bias

    def backward(self, delta: Any, x: Any, weight: Any, *bias: Any) -> tuple[Any, ...]:
        rows, errors = x.reshape(-1, x.shape[-1]), delta.reshape(-1, delta.shape[-1])
        return (delta @ weight, errors.T @ rows, *(None if b is None else errors.sum(axis=0) for b in bias))


@dataclass(frozen=True)
class AddMM(Operator):
    """A dense layer in the older spelling: which weighted sums, with the bias first and the weights transposed?

    Shapes: bias broadcasting to (B, K), x (B, C), weight (C, K), y (B, K). Units: macs as `Linear`. No spatial axes.
    Raises ShapeError where sizes do not fit. Source: the `addmm` of BLAS's xGEMM (Dongarra et al. 1990).

    >>> AddMM().output_shape((5,), (2, 8), (8, 5))
    (2, 5)
    """

    beta: float = 1
    alpha: float = 1

    aten: ClassVar = ("addmm",)
    arrays: ClassVar = ("bias", "x", "weight")
    learned: ClassVar = ("bias", "weight")
    formula: ClassVar = "y[b,k] = beta · bias[k] + alpha · Σ_c x[b,c] · weight[c,k]"

    def output_shape(self, bias: Shape, x: Shape, weight: Shape) -> Shape:
        out = (*x[:-1], *weight[1:])
        if len(x) != 2 or len(weight) != 2 or x[1] != weight[0] or broadcast_shape(bias, out) != out:
            raise ShapeError(f"addmm of shapes {bias}, {x} and {weight} does not fit", "the inner sizes must agree",
                             "x is (B, C), weight (C, K), bias (K,)")
        return out

    def macs(self, bias: Shape, x: Shape, weight: Shape) -> int:
        return prod(self.output_shape(bias, x, weight)) * x[1]

    def windows(self, bias: Shape, x: Shape, weight: Shape) -> tuple[Window | str, ...]:
        return ()

    def forward(self, bias: Any, x: Any, weight: Any) -> Any:
        self.output_shape(bias.shape, x.shape, weight.shape)
        return self.beta * bias + self.alpha * (x @ weight)

    def backward(self, delta: Any, bias: Any, x: Any, weight: Any) -> tuple[Any, ...]:
        return (self.beta * summed_to(delta, bias.shape), self.alpha * (delta @ weight.T), self.alpha * (x.T @ delta))
