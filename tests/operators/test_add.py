"""Sums and differences with broadcasting, against torch.

Turns red if in _broadcast.py `gradient.sum(axis=axes)` becomes `gradient.mean(axis=axes)`.
"""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from convscope.errors import ShapeError, UsageError
from convscope.geometry import Window
from convscope.operators.add import Add, RSub, Sub
from tests.operators.against_torch import numbers
from tests.operators.explained import hold, texts

PAIRS = [((2, 3, 4, 5), (2, 3, 4, 5)), ((2, 3, 4, 5), (3, 1, 1)), ((2, 3, 1, 1), (2, 3, 4, 5)),
         ((5,), (2, 5)), ((), (2, 3)), ((2, 1), (1, 3))]
FUNCTIONS = {Add: torch.add, Sub: torch.sub, RSub: torch.rsub}


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(list(FUNCTIONS)), st.sampled_from(PAIRS), st.sampled_from([1, 2, -0.5]), st.booleans())
def test_forward_and_gradients_equal_torch(kind, pair, alpha, with_number):
    x, function = numbers(1, *pair[0]), FUNCTIONS[kind]
    if with_number:
        hold(kind(1.5, alpha), lambda x: function(x, 1.5, alpha=alpha), x)
    else:
        hold(kind(alpha=alpha), lambda x, y: function(x, y, alpha=alpha), x, numbers(2, *pair[1]))


def test_costs_and_windows():
    assert Add().macs((1, 2, 3, 3), (1, 2, 3, 3)) == Add().parameters((1, 2, 3, 3), (1, 2, 3, 3)) == 0
    assert Add().windows((1, 2, 3, 3), (2, 1, 1)) == (Window(), Window())


def test_delta_goes_to_both_branches_unchanged():
    x, delta = np.array([[1.0, 2.0]]), np.array([[3.0, 4.0]])
    assert texts(Add().explain_value((0, 1), x, x)) == ["y = 2 + 2 = 4"]
    assert texts(Add(alpha=-0.5).explain_value((0, 1), x, x)) == ["y = 2 + (−0.5) · 2 = 1"]
    for which, name in enumerate(("x", "other")):
        back = Add().explain_gradient(which, (0, 1), delta, x, x)
        assert texts(back) == [f"∂L/∂{name}[0, 1] = δ[0, 1] = 4: handed on unchanged"]
    assert [g.how for g in Add().gradients(x.shape, x.shape)] == [
        "δ unchanged: a sum hands it to both branches", "alpha · δ: a sum hands δ to both branches"]


def test_what_was_broadcast_is_summed():
    x, other, delta = np.ones((2, 3)), np.array([5.0, 6.0, 7.0]), np.array([[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]])
    assert texts(Sub().explain_value((1, 2), x, other)) == ["other[2] = 7 is used at 2 places of y", "y = 1 − 7 = −6"]
    back = Sub().explain_gradient(1, (2,), delta, x, other)
    assert texts(back) == ["other[2] was used at 2 places: their shares add up", "Σ of 2 products = −33",
                           "∂L/∂other[2] = −33"]
    assert Sub().gradients(x.shape, other.shape)[1].sizes == "2×3 → 3: 2 numbers each"
    assert Sub().gradients(x.shape, other.shape)[1].how == "−alpha · δ; summed over what was broadcast"



def test_what_does_not_fit_is_said():
    with pytest.raises(ShapeError, match=r"shapes \(2, 3\) and \(2, 4\) do not broadcast"):
        Add().forward(numbers(1, 2, 3), numbers(2, 2, 4))
    with pytest.raises(UsageError, match="Sub needs a second operand"):
        Sub().forward(numbers(1, 2))
