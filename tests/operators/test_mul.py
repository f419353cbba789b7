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
from tests.operators.explained import hold
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
