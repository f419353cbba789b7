"""Pieces of a split against torch.

Turns red if in split.py `start = sum(sizes[:self.piece])` becomes `start = self.piece`.
"""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from convscope.errors import ShapeError
from convscope.operators.split import Split
from tests.operators.against_torch import numbers
from tests.operators.explained import hold, texts
from tests.operators.support import supported


@settings(max_examples=60, deadline=None)
@given(st.integers(-3, 2), st.integers(1, 7))
def test_pieces_of_one_size_equal_torch(dim, size):
    pieces = torch.zeros(4, 5, 6).split(size, dim)
    for piece in range(len(pieces)):
        hold(Split(size, dim, piece), lambda x, p=piece: x.split(size, dim)[p], numbers(1, 4, 5, 6))


def test_listed_sizes_and_chunks():
    for piece in range(3):
        hold(Split((1, 3, 1), 1, piece), lambda x, p=piece: x.split([1, 3, 1], 1)[p], numbers(1, 4, 5, 6))
    assert Split.read("split", {"split_size": 2, "dim": 1}, ((4, 5),)) == Split(2, 1)
    assert Split.read("split_with_sizes", {"split_sizes": [2, 3], "dim": 1}, ((4, 5),)) == Split((2, 3), 1)
    assert Split.read("chunk", {"chunks": 2, "dim": 1}, ((4, 5),)) == Split(3, 1)
    supported(Split((1, 3, 1), 2, 1), numbers(1, 1, 2, 5, 4))


def test_where_a_piece_was_cut_out():
    x = np.arange(5.0)
    value = Split((2, 3), 0, 1).explain_value((1,), x)
    assert texts(value) == ["piece 1 starts at 2 of axis 0: 2 + 1 = 3", "y[1] = x[3] = 3"]
    assert texts(Split((2, 3), 0, 1).explain_gradient(0, (0,), np.ones(3), x)) == ["x[0] is not in y: ∂L/∂x[0] = 0"]



def test_what_does_not_fit_is_said():
    with pytest.raises(ShapeError, match="no piece 3 in a split of 5 into 2"):
        Split(2, 1, 3).output_shape((4, 5))
    with pytest.raises(ShapeError, match="sizes must sum to the axis"):
        Split((2, 2), 1).output_shape((4, 5))
