"""Sums and differences with broadcasting, against torch.

Turns red if in _broadcast.py `gradient.sum(axis=axes)` becomes `gradient.mean(axis=axes)`.
"""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from convscope.errors import ShapeError, UsageError
from convscope.geometry import Window
from convscope.operators.add import Add, RSub, Sub
from tests.operators.against_torch import numbers
from tests.operators.explained import hold

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


def test_what_does_not_fit_is_said():
    with pytest.raises(ShapeError, match=r"shapes \(2, 3\) and \(2, 4\) do not broadcast"):
        Add().forward(numbers(1, 2, 3), numbers(2, 2, 4))
    with pytest.raises(UsageError, match="Sub needs a second operand"):
        Sub().forward(numbers(1, 2))
