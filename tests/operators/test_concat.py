"""Concatenation and stacking against torch.

Turns red if in concat.py `ends[:-1]` becomes `ends[1:]`.
"""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from convscope.errors import ShapeError
from convscope.geometry import Window
from convscope.operators.concat import Concat, Stack
from tests.operators.against_torch import numbers
from tests.operators.explained import hold, texts


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


def test_which_branch_a_channel_comes_from_and_delta_goes_to():
    branches = [np.full((1, n, 1, 1), float(n)) for n in (2, 3)]
    delta = np.arange(5.0).reshape(1, 5, 1, 1)
    assert texts(Concat(1).explain_value((0, 3, 0, 0), *branches)) == [
        "x1 is 2 … 4 of axis 1 of y: 2 + 1 = 3", "y[0, 3, 0, 0] = x1[0, 1, 0, 0] = 3"]
    assert texts(Concat(1).explain_gradient(1, (0, 2, 0, 0), delta, *branches)) == [
        "x1 is 2 … 4 of axis 1 of y: 2 + 2 = 4", "∂L/∂x1[0, 2, 0, 0] = δ[0, 4, 0, 0] = 4"]
    found = Concat(1).gradients(*(b.shape for b in branches))
    assert [(g.of, g.sizes) for g in found] == [("x", "1×5×1×1 → 0 … 1 of axis 1 → 1×2×1×1"),
                                                ("x1", "1×5×1×1 → 2 … 4 of axis 1 → 1×3×1×1")]
    sizes = [g.sizes for g in Stack(0).gradients((2,), (2,))]
    assert sizes == ["2×2 → entry 0 of axis 0 → 2", "2×2 → entry 1 of axis 0 → 2"]



def test_what_does_not_fit_is_said():
    with pytest.raises(ShapeError, match="cannot be joined along axis 1"):
        Concat(1).forward(numbers(1, 1, 2, 5), numbers(1, 1, 2, 6))
    with pytest.raises(ShapeError, match="cannot be stacked"):
        Stack().forward(numbers(1, 2), numbers(1, 3))
