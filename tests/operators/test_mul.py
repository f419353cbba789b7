"""Products and quotients with broadcasting, against torch.

Turns red if in mul.py the slope `-delta * x / (other * other)` becomes `-delta / (other * other)`.
"""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from convscope.errors import UsageError
from convscope.operators.mul import Div, Mul
from tests.operators.against_torch import numbers
from tests.operators.explained import hold, texts
from tests.operators.test_add import PAIRS

FUNCTIONS = {Mul: torch.mul, Div: torch.div}


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(list(FUNCTIONS)), st.sampled_from(PAIRS), st.booleans())
def test_forward_and_gradients_equal_torch(kind, pair, with_number):
    x, function = numbers(1, *pair[0]), FUNCTIONS[kind]
    if with_number:
        hold(kind(1.5), lambda x: function(x, 1.5), x)
    else:
        hold(kind(), function, x, numbers(2, *pair[1]) + 3)


@pytest.mark.parametrize("mode", ["floor", "trunc"])
def test_rounded_quotients(mode):
    hold(Div(rounding_mode=mode), lambda x, y: torch.div(x, y, rounding_mode=mode), 5 * numbers(1, 3, 4), numbers(2, 4))


def test_division_by_zero_and_the_rest():
    assert np.isinf(Div(0.0).forward(np.array([1.0]))).all()
    assert Mul().macs((2, 2), (2, 2)) == 0
    with pytest.raises(UsageError, match="rounding mode 'up' is not known"):
        Div(rounding_mode="up")
    with pytest.raises(UsageError, match="Mul needs a second operand"):
        Mul().backward(numbers(1, 2), numbers(1, 2))


def test_the_product_rule_in_numbers():
    x, gate, delta = np.array([[2.0, 3.0]]), np.array([[0.5]]), np.array([[10.0, 100.0]])
    assert texts(Mul().explain_value((0, 1), x, gate)) == ["other[0, 0] = 0.5 is used at 2 places of y", "y = 3 · 0.5 = 1.5"]
    assert texts(Mul().explain_gradient(0, (0, 1), delta, x, gate)) == ["∂L/∂x[0, 1] = δ · other = 100 · 0.5 = 50"]
    to_gate = Mul().explain_gradient(1, (0, 0), delta, x, gate)  # delta · map, summed over the map
    assert to_gate.terms.products.tolist() == [20, 300]
    assert texts(Div().explain_gradient(1, (0, 1), delta, x, x)) == ["∂L/∂other[0, 1] = δ · (−x/other²) = "
                                                                    "100 · (−0.333333) = −33.3333"]
    assert [g.how for g in Div(2.0, "floor").gradients((3,))] == ["0: a rounded quotient is flat"]
    assert texts(Div(2.0, "floor").explain_value((0,), np.array([5.0]))) == ["y = floor(5 / 2) = 2"]
