"""Reshape, flatten, unflatten, unsqueeze and squeeze against torch.

Turns red if in _rearrange.py `(prod(x[:a]), x[a]) in survivors` becomes `x[a] in out` (another axis taken for the same).
"""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from convscope.errors import ShapeError
from convscope.geometry import Window
from convscope.operators.reshape import Flatten, Reshape, Squeeze, Unflatten, Unsqueeze
from tests.operators.against_torch import numbers
from tests.operators.explained import hold


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([(2, -1), (24,), (-1,), (4, 3, 2), (2, 3, 1, 4, 1), (2, 1, -1, 2)]))
def test_reshape_equals_torch(shape):
    hold(Reshape(shape), lambda x: x.reshape(shape), numbers(1, 2, 3, 4))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 3), st.integers(0, 3))
def test_flatten_equals_torch(a, b):
    first, last = min(a, b), max(a, b) - 4
    hold(Flatten(first, last), lambda x: x.flatten(first, last), numbers(1, 2, 3, 1, 4))


@pytest.mark.parametrize("dim", range(-4, 4))
def test_unsqueeze_equals_torch(dim):
    hold(Unsqueeze(dim), lambda x: x.unsqueeze(dim), numbers(1, 2, 3, 4))


@pytest.mark.parametrize("dim", [None, 0, 1, -1, (0, 2), (1, -1), ()])
def test_squeeze_equals_torch(dim):
    hold(Squeeze(dim), lambda x: x.squeeze() if dim is None else x.squeeze(dim), numbers(1, 1, 3, 1, 4, 1))


def test_unflatten_and_a_single_number():
    hold(Unflatten(1, (2, -1)), lambda x: x.unflatten(1, (2, -1)), numbers(1, 2, 6, 3))
    hold(Flatten(), torch.flatten, numbers(1))


def test_free_sizes_of_a_graph():
    assert Reshape(("s0", 400)).output_shape((8, 16, 5, 5)) == (8, 400)
    assert Reshape(("s0", -1)).output_shape((8, 16, 5, 5)) == (8, 400)
    assert Reshape(("s0", 4, "s1//4", 25)).output_shape((8, 16, 5, 5)) == (8, 4, 4, 25)


def test_windows_tell_what_survives():
    assert Flatten(1).windows((1, 16, 5, 5)) == ("whole", "whole")
    assert Flatten(2).windows((1, 16, 5, 4)) == ("whole", "whole")
    assert Reshape((1, 2, 8, 5, 5)).windows((1, 16, 5, 5)) == (Window(), Window())  # channels cut in groups, space kept
    assert Reshape((1, 16, 5, 2, 2)).windows((1, 16, 5, 4)) == (Window(), "whole")
    assert Reshape((1, 5, 16, 5)).windows((1, 16, 5, 5)) == ("whole", Window())  # the first 5 is another
    assert Squeeze((2, 3)).windows((1, 16, 1, 1)) == (Window(), Window())


@pytest.mark.parametrize("shape", [(5, 5), (-1, 7), (-1, -1), (0, -1)])
def test_what_does_not_fit_is_said(shape):
    with pytest.raises(ShapeError, match="do not fit into shape"):
        Reshape(shape).output_shape((2, 3, 4))
