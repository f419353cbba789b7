"""Matrix products against torch, against loops.

Turns red if in matmul.py `d @ columns.swapaxes(-1, -2)` loses its `swapaxes(-1, -2)`.
"""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from convscope.errors import ShapeError
from convscope.geometry import Window
from convscope.operators.matmul import MatMul
from tests import oracles
from tests.operators.against_torch import numbers
from tests.operators.explained import hold

LEADS = [((), ()), ((2,), (2,)), ((2,), ()), ((), (3,)), ((1, 3), (2, 1)), ((2, 3), (3,))]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(LEADS), st.integers(1, 4), st.integers(1, 4), st.integers(1, 4))
def test_stacks_of_matrices_equal_torch(leads, n, c, m):
    hold(MatMul(), torch.matmul, numbers(1, *leads[0], n, c), numbers(2, *leads[1], c, m))


@pytest.mark.parametrize("shapes", [((4,), (4,)), ((4,), (4, 3)), ((3, 4), (4,)), ((2, 3, 4), (4,)), ((4,), (2, 4, 3))])
def test_vectors_equal_torch(shapes):
    hold(MatMul(), torch.matmul, numbers(1, *shapes[0]), numbers(2, *shapes[1]))


def test_macs_by_count_and_windows():
    x, other = numbers(1, 3, 5), numbers(2, 5, 4)
    y, count = oracles.matrix_product(x, other)
    np.testing.assert_allclose(MatMul().forward(x, other), y, rtol=1e-12)
    assert MatMul().macs((3, 5), (5, 4)) == count
    assert MatMul().macs((2, 3, 5), (5, 4)) == 2 * count
    assert MatMul().windows((1, 2, 3, 5), (1, 2, 5, 4)) == (Window(), "whole")


def test_what_does_not_fit_is_said():
    with pytest.raises(ShapeError, match="cannot be multiplied"):
        MatMul().forward(numbers(1, 3, 5), numbers(2, 4, 5))
    with pytest.raises(ShapeError, match="do not broadcast"):
        MatMul().output_shape((2, 3, 5), (3, 5, 4))
