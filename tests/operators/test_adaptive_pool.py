"""Adaptive pooling against torch (values, indices, gradients).

Turns red if in adaptive_pool.py the end `-(-(i + 1) * n // m)` becomes `(i + 1) * n // m` (no overlaps).
"""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from convscope.errors import ShapeError
from convscope.geometry import Window
from convscope.operators.adaptive_pool import AdaptiveAvgPool, AdaptiveMaxPool
from tests.operators.against_torch import numbers
from tests.operators.explained import hold, texts
from tests.operators.support import supported

AVERAGE = {1: F.adaptive_avg_pool1d, 2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}
MAXIMUM = {1: F.adaptive_max_pool1d, 2: F.adaptive_max_pool2d, 3: F.adaptive_max_pool3d}


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 7), st.integers(1, 5)), min_size=1, max_size=3), st.booleans())
def test_values_indices_and_gradients_equal_torch(axes, with_ties):
    size, out, rank = tuple(n for n, _ in axes), tuple(m for _, m in axes), len(axes)
    x = numbers(1, 2, 2, *size)
    x = np.round(x) if with_ties else x
    hold(AdaptiveAvgPool(out), lambda x: AVERAGE[rank](x, out), x)
    hold(AdaptiveMaxPool(out), lambda x: MAXIMUM[rank](x, out), x)
    _, theirs = MAXIMUM[rank](torch.tensor(x), out, return_indices=True)
    assert np.array_equal(AdaptiveMaxPool(out).forward_with_indices(x)[1], theirs.numpy())


def test_windows_are_exact_where_sizes_divide_and_whole_elsewhere():
    supported(AdaptiveAvgPool((2, 3)), numbers(1, 1, 2, 8, 9))
    assert AdaptiveAvgPool((2, 3)).windows((1, 2, 8, 9)) == (Window(4, 4), Window(3, 3))
    assert AdaptiveMaxPool((1, 3)).windows((1, 2, 8, 8)) == ("whole", "whole")
    assert AdaptiveAvgPool(6).windows((1, 256, 6, 6)) == (Window(), Window())  # AlexNet at 224: nothing happens


def test_counts_and_what_does_not_fit():
    assert AdaptiveAvgPool(6).macs((1, 256, 6, 6)) == 0
    with pytest.raises(ShapeError, match="output_size"):
        AdaptiveMaxPool((2, 2)).output_shape((1, 2, 8))
    with pytest.raises(ShapeError, match="adaptive pooling needs"):
        AdaptiveAvgPool(2).output_shape((1, 2))


def test_tiles_that_overlap():
    x = np.arange(5.0).reshape(1, 1, 5)  # tiles 0 … 1, 1 … 3, 3 … 4
    assert texts(AdaptiveAvgPool(3).explain_value((0, 0, 1), x)) == ["Σ of the tile's 3 numbers = 6", "y = 6 / 3 = 2"]
    back = AdaptiveAvgPool(3).explain_gradient(0, (0, 0, 3), np.array([[[1.0, 30.0, 200.0]]]), x)
    assert texts(back)[0] == "x[0, 0, 3] is read by 2 outputs"
    assert back.terms.right_values == pytest.approx([1 / 3, 1 / 2])
    assert back.value == pytest.approx(110)
    lost = AdaptiveMaxPool(3).explain_gradient(0, (0, 0, 3), np.array([[[1.0, 30.0, 200.0]]]), x)
    assert texts(lost)[:2] == ["x[0, 0, 3] won 1 of 2 windows that hold it",
                               "lost at y[0, 0, 2]: x[0, 0, 4] won; its δ goes there"]
    assert AdaptiveAvgPool(3).gradients((1, 1, 5))[0].sizes == "3 δ a map; tiles of 2 or 3 of 5 pixels"
