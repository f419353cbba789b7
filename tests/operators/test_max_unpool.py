"""Max unpooling against torch.

Turns red if in max_unpool.py `np.zeros((*x.shape[:2], n), …)` becomes `np.ones(…)`.
"""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from convscope.errors import ShapeError
from convscope.operators.max_pool import MaxPool
from convscope.operators.max_unpool import MaxUnpool
from tests.operators.against_torch import numbers
from tests.operators.explained import hold, texts

FUNCTIONS = {1: F.max_unpool1d, 2: F.max_unpool2d, 3: F.max_unpool3d}


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 3), st.integers(1, 3), st.lists(st.integers(3, 7), min_size=3, max_size=3))
def test_undoing_a_pooling_equals_torch(rank, kernel, sizes):
    x, size = numbers(1, 2, 2, *sizes[:rank]), tuple(sizes[:rank])
    y, indices = MaxPool(kernel).forward_with_indices(x)
    hold(MaxUnpool(size), lambda y, i: FUNCTIONS[rank](y, i, kernel, output_size=size), y, indices)


def test_every_maximum_stands_where_it_stood():
    x = numbers(1, 1, 2, 6, 6)
    y, indices = MaxPool(2).forward_with_indices(x)
    back = MaxUnpool((6, 6)).forward(y, indices)
    assert np.array_equal(back[back != 0], x[back != 0])
    assert np.count_nonzero(back) == y.size
    assert MaxUnpool((6, 6)).windows(y.shape, y.shape) == ("whole", "whole")


def test_of_two_values_at_one_place_the_last_stays():
    y = MaxUnpool((3,)).forward(np.array([[[1.0, 2.0]]]), np.array([[[1, 1]]]))
    assert y.tolist() == [[[0.0, 2.0, 0.0]]]
    assert torch.tensor(y).shape == (1, 1, 3)


def test_values_that_share_a_place_all_get_its_delta():
    x, indices, delta = np.array([[[1.0, 2.0]]]), np.array([[[1, 1]]]), np.array([[[0.0, 7.0, 0.0]]])
    assert texts(MaxUnpool((3,)).explain_gradient(0, (0, 0, 0), delta, x, indices)) == [
        "indices[0, 0, 0] = 1, which is y[0, 0, 1]", "2 values were put there; the last stayed, and each gets its δ",
        "∂L/∂x[0, 0, 0] = δ[0, 0, 1] = 7"]
    assert texts(MaxUnpool((3,)).explain_value((0, 0, 1), x, indices)) == ["y[0, 0, 1] = x[0, 0, 1] = 2"]
    assert texts(MaxUnpool((3,)).explain_value((0, 0, 0), x, indices)) == ["y[0, 0, 0] was not in x: it is filled with 0"]



def test_what_does_not_fit_is_said():
    with pytest.raises(ShapeError, match="outside a map of 3 positions"):
        MaxUnpool((3,)).forward(numbers(1, 1, 1, 2), np.array([[[0, 3]]]))
    with pytest.raises(ShapeError, match="values and indices have one shape"):
        MaxUnpool((3,)).output_shape((1, 1, 2), (1, 1, 3))
