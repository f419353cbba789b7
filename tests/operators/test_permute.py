"""Permutations of axes against torch.

Turns red if in permute.py the backward `np.argsort(self._order(x.ndim))` becomes `self._order(x.ndim)`.
"""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from convscope.errors import ShapeError
from convscope.geometry import Window
from convscope.operators.permute import Permute, Transpose
from tests.operators.against_torch import numbers
from tests.operators.explained import hold


@settings(max_examples=40, deadline=None)
@given(st.permutations([0, 1, 2, 3]), st.booleans())
def test_permute_equals_torch(order, from_the_end):
    dims = tuple(d - 4 for d in order) if from_the_end else tuple(order)
    hold(Permute(dims), lambda x: x.permute(dims), numbers(1, 2, 3, 4, 5))


@settings(max_examples=40, deadline=None)
@given(st.integers(-3, 2), st.integers(-3, 2))
def test_transpose_equals_torch(a, b):
    hold(Transpose(a, b), lambda x: x.transpose(a, b), numbers(1, 2, 3, 4))


def test_t_of_matrix_and_vector():
    hold(Transpose.read("t", {}, ((2, 3),)), torch.t, numbers(1, 2, 3))
    hold(Transpose.read("t", {}, ((3,),)), torch.t, numbers(1, 3))
    assert Permute((0, 2, 3, 1)).windows((1, 2, 3, 4)) == (Window(), Window())


def test_what_does_not_fit_is_said():
    with pytest.raises(ShapeError, match="is no order of 3 axes"):
        Permute((0, 1, 1)).output_shape((1, 2, 3))
    with pytest.raises(ShapeError, match="cannot be swapped"):
        Transpose(0, 3).output_shape((1, 2, 3))
