"""The dense layer: every output is a weighted sum of all inputs.

    y[…, k] = bias[k] + Σ_c weight[k, c] · x[…, c]

Source: Rosenblatt 1958, "The Perceptron"; its backward pass Rumelhart, Hinton, Williams 1986.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

import numpy as np

from convscope.errors import ShapeError
from convscope.geometry import WHOLE, Window
from convscope.operators._broadcast import broadcast_shape, copies_of, source_of, summed_to
from convscope.operators._lines import factor
from convscope.operators._operator import Operator, Shape
from convscope.operators._products import along, product_text, row_grid, whole
from convscope.operators._working import Working, many, number, place, plus, shape_text, sum_lines, taken, terms
from convscope.results import Gradient, Line, Terms


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
    backward_formula: ClassVar = "∂L/∂x = δ·W, ∂L/∂weight = δᵀ·x over all rows of the batch, ∂L/∂bias = Σ δ"

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

    # --- written out ---------------------------------------------------------------------------------------------------

    def gradients(self, x: Shape, weight: Shape, bias: Shape | None = None) -> tuple[Gradient, ...]:
        (k, c), n, macs = weight, prod(x[:-1]), self.macs(x, weight, bias)
        found = [Gradient("x", x, "δ times the weights, one matrix product for the whole batch",
                          f"δ·W: {product_text((n, k), (k, c))}", macs),
                 Gradient("weight", weight, "δᵀ·x, one matrix product: the sum over all rows of the batch",
                          f"δᵀ·x: {product_text((n, k), (n, c), 'left')}", macs)]
        if bias is not None:
            found.append(Gradient("bias", bias, "δ summed over all rows of the batch", f"{n}×{k} → {k}"))
        return tuple(found)

    def explain_value(self, at: tuple[int, ...], x: Any, weight: Any, bias: Any = None) -> Working:
        *row, k = at
        made = along(("x", x, (*row, None)), ("weight", weight, (k, None)))
        n, c = prod(x.shape[:-1]), x.shape[-1]
        batch = whole("the whole batch is one matrix product", product_text((n, c), weight.shape, "right"), n * weight.size)
        grids = row_grid(f"row of {place('x', row)}", x, (*row, None)), row_grid(f"weight[{k}]", weight, (k, None))
        lines = sum_lines(made, place("y", at), 0.0 if bias is None else float(bias[k]))
        return Working(self.formula, (batch, *lines), made, grids)

    def explain_gradient(self, which: int, at: tuple[int, ...], delta: Any, *arrays: Any) -> Working:
        x, weight = arrays[0], arrays[1]
        n, (k, c) = prod(x.shape[:-1]), weight.shape
        what = f"∂L/∂{place(self.arrays[which], at)}"
        if which == 0:
            *row, column = at
            made = along(("δ", delta, (*row, None)), ("weight", weight, (None, column)))
            batch = whole("over the whole batch ∂L/∂x = δ·W is one matrix product", product_text((n, k), (k, c)), n * k * c)
            return Working("∂L/∂x[…,c] = Σ_k δ[…,k] · weight[k,c]", (batch, *sum_lines(made, what)), made)
        places = np.array(list(np.ndindex(*x.shape[:-1])), np.int64).reshape(n, x.ndim - 1)
        here = np.column_stack([places, np.full(n, at[0])])
        if which == 1:
            there = np.column_stack([places, np.full(n, at[1])])
            made = terms(("δ", here, taken(delta, here)), ("x", there, taken(x, there)))
            batch = whole(f"δᵀ·x is one matrix product over the batch, and this number a sum over its "
                          f"{many(n, 'row')}", product_text((n, k), (n, c), "left"), n * k * c)
            return Working("∂L/∂weight[k,c] = Σ_rows δ[…,k] · x[…,c]", (batch, *sum_lines(made, what)), made)
        made = terms(("δ", here, taken(delta, here)), ("1", here, np.ones(n)))
        return Working("∂L/∂bias[k] = Σ_rows δ[…,k]", sum_lines(made, what), made)


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
    backward_formula: ClassVar = "∂L/∂x = alpha · δ·Wᵀ, ∂L/∂weight = alpha · xᵀ·δ over the batch, ∂L/∂bias = beta · Σ δ"

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

    # --- written out ---------------------------------------------------------------------------------------------------

    def gradients(self, bias: Shape, x: Shape, weight: Shape) -> tuple[Gradient, ...]:
        (n, c), k, macs = x, weight[1], self.macs(bias, x, weight)
        return (Gradient("bias", bias, "δ summed over all rows of the batch", f"{n}×{k} → {shape_text(bias)}"),
                Gradient("x", x, "δ times the weights, one matrix product for the whole batch",
                         f"δ·Wᵀ: {product_text((n, k), (c, k), 'right')}", macs),
                Gradient("weight", weight, "xᵀ·δ, one matrix product: the sum over all rows of the batch",
                         f"xᵀ·δ: {product_text((n, c), (n, k), 'left')}", macs))

    def explain_value(self, at: tuple[int, ...], bias: Any, x: Any, weight: Any) -> Working:
        row, column = at
        made = along(("x", x, (row, None)), ("weight", weight, (None, column)))
        (n, c), k = x.shape, weight.shape[1]
        batch = whole("the whole batch is one matrix product", product_text((n, c), (c, k)), n * c * k)
        added = self.beta * float(bias[tuple(source_of(at, bias.shape))])
        grids = row_grid(f"x[{row}]", x, (row, None)), row_grid(f"column {column} of weight", weight, (None, column))
        return Working(self.formula, (batch, *self._scaled(made, place("y", at), self.alpha, added)), made, grids)

    def explain_gradient(self, which: int, at: tuple[int, ...], delta: Any, *arrays: Any) -> Working:
        bias, x, weight = arrays
        (n, c), k, what = x.shape, weight.shape[1], f"∂L/∂{place(self.arrays[which], at)}"
        if which == 0:
            places = copies_of(at, bias.shape, delta.shape)
            made = terms(("δ", places, taken(delta, places)), ("1", places, np.ones(len(places))))
            return Working("∂L/∂bias[k] = beta · Σ_b δ[b,k]", self._scaled(made, what, self.beta), made)
        if which == 1:
            made = along(("δ", delta, (at[0], None)), ("weight", weight, (at[1], None)))
            text, formula = product_text((n, k), (c, k), "right"), "∂L/∂x[b,c] = alpha · Σ_k δ[b,k] · weight[c,k]"
            batch = whole("over the whole batch δ·Wᵀ is one matrix product", text, n * k * c)
        else:
            made = along(("δ", delta, (None, at[1])), ("x", x, (None, at[0])))
            text, formula = product_text((n, c), (n, k), "left"), "∂L/∂weight[c,k] = alpha · Σ_b x[b,c] · δ[b,k]"
            batch = whole(f"xᵀ·δ is one matrix product over the batch, and this number a sum over its "
                          f"{many(n, 'row')}", text, n * k * c)
        return Working(formula, (batch, *self._scaled(made, what, self.alpha)), made)

    def _scaled(self, made: Terms, what: str, scale: float, added: float = 0.0) -> tuple[Line, ...]:
        """The sum, times alpha or beta where that is not 1, and the bias."""
        if scale == 1:
            return sum_lines(made, what, added)
        total = float(made.products.sum())
        value = scale * total + added
        bias = f"{plus(added)} (bias)" if added else ""
        return (*sum_lines(made, "the sum")[:-1],
                Line(f"{what} = {number(scale)} · {factor(total)}{bias} = {number(value)}", value))
