"""Concatenation and stacking against torch.

Turns red if in concat.py `ends[:-1]` becomes `ends[1:]`.
"""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from convscope.errors import ShapeError
from convscope.geometry import Window
from convscope.operators.concat import Concat, Stack
from tests.operators.against_torch import numbers
from tests.operators.explained import hold


@settings(max_examples=60, deadline=None)
@given(st.integers(-3, 2), st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_concat_equals_torch(dim, sizes):
    shapes = [tuple(n if a == dim % 3 else 2 for a in range(3)) for n in sizes]
    hold(Concat(dim), lambda *xs: torch.cat(xs, dim), *(numbers(i, *shape) for i, shape in enumerate(shapes)))


@settings(max_examples=30, deadline=None)
@given(st.integers(-3, 2), st.integers(1, 4))
def test_stack_equals_torch(dim, n):
    hold(Stack(dim), lambda *xs: torch.stack(xs, dim), *(numbers(i, 2, 3) for i in range(n)))


def test_windows():
    assert Concat(1).windows((1, 2, 5, 5), (1, 3, 5, 5)) == (Window(), Window())
    assert Concat(-1).windows((1, 2, 5, 5), (1, 2, 5, 3)) == (Window(), "whole")


def test_what_does_not_fit_is_said():
    with pytest.raises(ShapeError, match="cannot be joined along axis 1"):
        Concat(1).forward(numbers(1, 1, 2, 5), numbers(1, 1, 2, 6))
    with pytest.raises(ShapeError, match="cannot be stacked"):
        Stack().forward(numbers(1, 2), numbers(1, 3))
