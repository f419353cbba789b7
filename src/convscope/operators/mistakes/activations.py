"""Mistakes in activation functions.

y = f(x)        ∂L/∂x = δ · f′(x)
"""

from __future__ import annotations

from typing import Any

import numpy as np

from convscope.operators._elementwise import Elementwise, logistic
from convscope.operators.leaky_relu import LeakyReLU
from convscope.operators.mistakes._mistake import backward, forward
from convscope.operators.relu import ReLU
from convscope.operators.relu6 import ReLU6
from convscope.operators.sigmoid import Sigmoid
from convscope.operators.tanh import Tanh

CURVED = (Tanh, Sigmoid)
HINGES = (ReLU, ReLU6, LeakyReLU)
AT_INPUT = "the derivative belongs to the input of the activation: δ · f′(x), or of y = f(x) where f′ is written in y"
MASK = "∂L/∂x = δ * (x > 0), with the x of the forward pass"


@backward(Elementwise, "the derivative of the activation was forgotten", "multiply: ∂L/∂x = δ · f′(x)")
def derivative_forgotten(op: Any, delta: Any, x: Any) -> Any:
    return (delta,)


@backward(Elementwise, "the derivative was taken at the output of the activation instead of at its input", AT_INPUT)
def derivative_at_the_output(op: Any, delta: Any, x: Any) -> Any:
    return (delta * op.slope(op.value(x)),)


@backward(Elementwise, "the derivative was multiplied twice", "multiply with f′(x) once")
def derivative_twice(op: Any, delta: Any, x: Any) -> Any:
    return (delta * op.slope(x) ** 2,)


@backward(Elementwise, "the derivative took the place of δ", "multiply: ∂L/∂x = δ · f′(x)")
def derivative_instead_of_delta(op: Any, delta: Any, x: Any) -> Any:
    return (op.slope(x) * np.ones_like(delta),)


@backward(
    Elementwise, "δ was multiplied with the activation instead of its derivative", "multiply with f′(x), not with f(x)"
)
def activation_instead_of_derivative(op: Any, delta: Any, x: Any) -> Any:
    return (delta * op.value(x),)


@backward(Elementwise, "the derivative was taken at δ", AT_INPUT)
def derivative_at_delta(op: Any, delta: Any, x: Any) -> Any:
    return (delta * op.slope(delta),)


@backward(Tanh, "1 − y² was used with x in the place of y = tanh(x)", AT_INPUT)
def formula_for_the_output_fed_with_the_input(op: Any, delta: Any, x: Any) -> Any:
    return (delta * (1 - x**2),)


@backward(
    Sigmoid, "y·(1 − y) was used with x in the place of y = σ(x)", AT_INPUT, key="formula for the output fed with the input"
)
def logistic_formula_fed_with_the_input(op: Any, delta: Any, x: Any) -> Any:
    return (delta * x * (1 - x),)


@backward(CURVED, "the derivatives of tanh and sigmoid were mixed up", "tanh: 1 − y²; sigmoid: y·(1 − y)")
def derivatives_of_tanh_and_sigmoid_mixed_up(op: Any, delta: Any, x: Any) -> Any:
    y = op.value(x)
    return (delta * (y * (1 - y) if isinstance(op, Tanh) else 1 - y**2),)


@backward(CURVED, "the square was forgotten", "tanh: 1 − y²; sigmoid: y − y²")
def square_forgotten(op: Any, delta: Any, x: Any) -> Any:
    return (delta * (1 - op.value(x)),)


@backward(CURVED, "a ReLU's derivative was used", "tanh: 1 − y²; sigmoid: y·(1 − y)")
def derivative_of_relu(op: Any, delta: Any, x: Any) -> Any:
    return (delta * (x > 0),)


@backward(HINGES, "δ passed where δ itself is positive", MASK)
def mask_of_delta(op: Any, delta: Any, x: Any) -> Any:
    return (delta * (delta > 0),)


@backward(HINGES, "δ passed only where both δ and x are positive (guided backpropagation)", MASK)
def mask_of_both(op: Any, delta: Any, x: Any) -> Any:
    return (delta * (delta > 0) * op.slope(x),)


@backward(HINGES, "the mask was turned around: δ passed where x is negative", MASK)
def mask_turned_around(op: Any, delta: Any, x: Any) -> Any:
    return (delta * (x <= 0),)


@backward((ReLU, ReLU6), "δ passed where x is exactly 0 (y == 0 takes the slope 1)", MASK)
def slope_one_at_zero(op: Any, delta: Any, x: Any) -> Any:
    return (delta * (op.slope(x) + (x == 0)),)


@backward((ReLU, ReLU6), "the mask of a leaky ReLU was used: 0.01·δ below zero", MASK)
def leaky_slope(op: Any, delta: Any, x: Any) -> Any:
    return (delta * np.where(x > 0, op.slope(x), 0.01),)


@backward(ReLU6, "the upper bound was forgotten: δ passed above 6", "δ * ((x > 0) & (x < 6))")
def upper_bound_forgotten(op: Any, delta: Any, x: Any) -> Any:
    return (delta * (x > 0),)


@backward(LeakyReLU, "the slope below zero was forgotten", "δ * np.where(x > 0, 1, slope)")
def slope_below_zero_forgotten(op: Any, delta: Any, x: Any) -> Any:
    return (delta * (x > 0),)


@forward(Elementwise, "the activation was forgotten", "apply it: y = f(x)")
def activation_forgotten(op: Any, x: Any) -> Any:
    return x


@forward(Elementwise, "the activation was applied twice", "apply it once")
def activation_applied_twice(op: Any, x: Any) -> Any:
    return op.forward(op.forward(x))


def _other(function: Any) -> Any:
    return lambda op, x: function(x)


for _key, _function in (
    ("relu", lambda x: np.maximum(x, 0)),
    ("tanh", np.tanh),
    ("sigmoid", logistic),
    ("absolute value", np.abs),
    ("leaky relu", lambda x: np.where(x > 0, x, 0.01 * x)),
    ("softplus", lambda x: np.logaddexp(0, x)),
):
    forward(Elementwise, f"another activation was used: {_key}", "use the network's own", key=f"{_key} was used")(
        _other(_function)
    )
