"""Mistakes in a dense layer.

y = x · weightᵀ + bias        ∂L/∂x = δ · weight        ∂L/∂weight = δᵀ · x        ∂L/∂bias = Σ_b δ
"""

from __future__ import annotations

from typing import Any

from convscope.operators.linear import Linear
from convscope.operators.mistakes._mistake import PARAMETERS, backward, forward

ROWS = "∂L/∂x = δ @ weight, with weight (K, C): the forward pass has weight.T, the backward pass has not"
OUTER = "∂L/∂weight = δ.T @ x, of the shape (K, C)"


def _turned(weight: Any) -> Any:
    """The weights read as if (C, K) were their shape: for a square matrix, its transpose."""
    return weight.reshape(weight.shape[::-1]).T


@backward(Linear, "the weights were not transposed", ROWS)
def weight_not_transposed(op: Any, delta: Any, x: Any, weight: Any, *bias: Any) -> Any:
    return (delta @ _turned(weight),)


@backward(Linear, "∂L/∂weight came out transposed", OUTER, PARAMETERS)
def weight_gradient_transposed(op: Any, delta: Any, x: Any, weight: Any, *bias: Any) -> Any:
    gradient = op.backward(delta, x, weight)[1]
    return (None, gradient.T.reshape(gradient.shape))


@backward(
    Linear,
    "δ and x were averaged over the batch before they were multiplied",
    OUTER + ": multiply first, then add",
    PARAMETERS,
)
def weight_gradient_of_averages(op: Any, delta: Any, x: Any, weight: Any, *bias: Any) -> Any:
    rows, errors = x.reshape(-1, x.shape[-1]), delta.reshape(-1, delta.shape[-1])
    return (None, errors.mean(axis=0)[:, None] * rows.mean(axis=0))


@backward(
    Linear,
    "δ and x were added up over the batch before they were multiplied",
    OUTER + ": multiply first, then add",
    PARAMETERS,
)
def weight_gradient_of_sums(op: Any, delta: Any, x: Any, weight: Any, *bias: Any) -> Any:
    rows, errors = x.reshape(-1, x.shape[-1]), delta.reshape(-1, delta.shape[-1])
    return (None, errors.sum(axis=0)[:, None] * rows.sum(axis=0))


@backward(Linear, "the weights' values were mixed in: δ · x · weight", OUTER, PARAMETERS)
def weight_gradient_times_the_weights(op: Any, delta: Any, x: Any, weight: Any, *bias: Any) -> Any:
    return (None, op.backward(delta, x, weight)[1] * weight)


@backward(Linear, "the weights' signs alone were used", ROWS)
def sign_of_the_weights(op: Any, delta: Any, x: Any, weight: Any, *bias: Any) -> Any:
    return (delta @ ((weight > 0) * 1.0 - (weight < 0)),)


@backward(Linear, "δ was only added up, without the weights", ROWS)
def weights_left_out(op: Any, delta: Any, x: Any, weight: Any, *bias: Any) -> Any:
    return (delta.sum(axis=-1, keepdims=True) + 0 * x,)


@forward(Linear, "the bias was forgotten", "y = x @ weight.T + bias")
def bias_forgotten(op: Any, x: Any, weight: Any, *bias: Any) -> Any:
    return op.forward(x, weight) if bias else None


@forward(Linear, "the weights were read with rows and columns swapped", "y = x @ weight.T, with weight (K, C)")
def weight_transposed(op: Any, x: Any, weight: Any, *bias: Any) -> Any:
    return op.forward(x, _turned(weight), *bias)
