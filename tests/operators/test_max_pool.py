"""Max pooling against torch (values, indices, gradients), against loops.

Turns red if in max_pool.py `self._framed(x, out, -np.inf)` becomes `self._framed(x, out, 0.0)` (padding beats negative
pixels).
"""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from convscope.errors import ShapeError
from convscope.operators.max_pool import MaxPool
from tests import oracles
from tests.operators.against_torch import numbers
from tests.operators.explained import hold, texts
from tests.operators.support import supported

FUNCTIONS = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}


@st.composite
def poolings(draw: st.DrawFn):
    rank = draw(st.sampled_from([1, 2, 2, 3]))
    each = st.tuples(*[st.integers(1, 3)] * rank)
    kernel, dilation = draw(each), draw(st.tuples(*[st.integers(1, 2)] * rank))
    stride = draw(st.one_of(each, st.sampled_from([(), None])))
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    least = [max(d * (k - 1) + 1 - 2 * p, 1) for k, d, p in zip(kernel, dilation, padding, strict=True)]
    size = tuple(n + draw(st.integers(0, 4)) for n in least)
    return MaxPool(kernel, stride, padding, dilation, draw(st.booleans())), (2, draw(st.integers(1, 2)), *size)


@settings(max_examples=200, deadline=None)
@given(poolings(), st.booleans())
def test_values_indices_and_gradients_equal_torch(case, with_ties):
    pool, shape = case
    x = numbers(1, *shape)
    x = np.round(x) if with_ties else x
    function = FUNCTIONS[len(shape) - 2]
    arguments = (pool.kernel_size, pool.stride or None, pool.padding, pool.dilation, pool.ceil_mode)
    try:
        _, winners = pool.forward_with_indices(x)
    except ShapeError:
        assume(False)  # a window over padding alone
    hold(pool, lambda x: function(x, *arguments), x)
    _, theirs = function(torch.tensor(x), *arguments, return_indices=True)
    assert np.array_equal(winners, theirs.numpy())


def test_a_slow_twin_finds_the_same_winners_even_where_all_is_minus_infinity():
    x = np.round(numbers(1, 2, 3, 7, 6))
    x[0, 0, :3, :3] = -np.inf
    y, winners = oracles.max_pooling(x, kernel=3, stride=2, padding=1)
    ours, where = MaxPool(3, 2, 1).forward_with_indices(x)
    assert np.array_equal(ours, y)
    assert np.array_equal(where, winners)
    theirs = F.max_pool2d(torch.tensor(x), 3, 2, 1, return_indices=True)[1]
    assert np.array_equal(where, theirs.numpy())


def test_nan_beats_every_number():
    x = np.array([[[1.0, np.nan, 3.0, 2.0]]])
    assert np.isnan(MaxPool(2).forward(x)[0, 0, 0])
    assert MaxPool(2).forward_with_indices(x)[1].tolist() == [[[1, 2]]]


def test_sizes_and_counts():
    assert MaxPool(3, 2).output_shape((1, 96, 55, 55)) == (1, 96, 27, 27)  # AlexNet's overlapping pooling
    assert MaxPool(3, 2, ceil_mode=True).output_shape((1, 64, 112, 112)) == (1, 64, 56, 56)  # GoogLeNet's
    assert MaxPool(3).macs((1, 96, 55, 55)) == MaxPool(3).parameters((1, 96, 55, 55)) == 0


@pytest.mark.parametrize("pool", [MaxPool(3, 2, 1), MaxPool((2, 3)), MaxPool(2, 1, 0, 2), MaxPool(3, 2, 0, 1, True)])
def test_gradients_stay_within_the_windows(pool):
    supported(pool, numbers(1, 2, 3, 8, 10), exact=False)


def test_the_winner_is_marked_and_of_equal_ones_the_first_in_row_order():
    x = np.array([[[[1.0, 5.0, 0.0], [5.0, 2.0, 7.0], [0.0, 0.0, 7.0]]]])
    tie = MaxPool(2, 1).explain_value((0, 0, 0, 0), x)
    assert texts(tie) == [
        "the window of y[0, 0, 0, 0]: rows 0 … 1, columns 0 … 1: 4 numbers",
        "2 of them are equally large: the first in row order wins",
        "y = the largest of them = x[0, 0, 0, 1] = 5",
    ]
    (window,) = tie.grids
    assert window.values.tolist() == [[[1, 5], [5, 2]]]
    assert window.marked == ((0, 0, 1),)
    corner = MaxPool(3, 2, 1).explain_value((0, 0, 0, 1), x)
    assert texts(corner)[0] == ("the window of y[0, 0, 0, 1]: rows 0 … 1, columns 1 … 2: 4 numbers; "
                                "5 of its 9 cells lie in the padding and cannot win")
    assert corner.grids[0].start == (0, 0, 1)
    spread = MaxPool((2, 1), 1, 0, 2).explain_value((0, 0, 0, 0), x)
    assert texts(spread)[0] == "the window of y[0, 0, 0, 0]: rows 0 … 2 in steps of 2, columns 0: 2 numbers"
    assert spread.grids[0].step == (1, 2, 2)


def test_a_pixel_gets_delta_from_the_windows_it_won_only():
    x = np.array([[[[1.0, 5.0, 0.0], [5.0, 2.0, 7.0], [0.0, 0.0, 7.0]]]])
    delta = np.array([[[[1.0, 10.0], [100.0, 1000.0]]]])
    centre = MaxPool(2, 1).explain_gradient(0, (0, 0, 1, 0), delta, x)
    assert texts(centre) == [
        "x[0, 0, 1, 0] won 1 of 2 windows that hold it",
        "lost at y[0, 0, 0, 0]: x[0, 0, 0, 1] won; its δ goes there",  # the other 5 came first
        "Σ of 1 product = 100",
        "∂L/∂x[0, 0, 1, 0] = 100",
    ]
    twice = MaxPool(2, 1).explain_gradient(0, (0, 0, 1, 2), delta, x)
    assert texts(twice)[0] == "x[0, 0, 1, 2] won 2 of 2 windows that hold it"
    assert twice.value == 1010
    assert set(twice.grids[0].marked) == {(0, 0, 1), (0, 1, 1)}
    never = MaxPool(2, 1).explain_gradient(0, (0, 0, 1, 1), delta, x)
    assert texts(never)[0] == "x[0, 0, 1, 1] won 0 of 4 windows that hold it"
    assert texts(never)[-1] == "∂L/∂x[0, 0, 1, 1] = 0: it won nowhere"
    unread = MaxPool(2).explain_gradient(0, (0, 0, 2, 2), np.ones((1, 1, 1, 1)), x)
    assert texts(unread) == ["x[0, 0, 2, 2] won 0 of 0 windows that hold it", "∂L/∂x[0, 0, 2, 2] = 0: it won nowhere"]


def test_the_backward_pass_in_sizes():
    (to_x,) = MaxPool(3, 2).gradients((1, 96, 55, 55))
    assert to_x.sizes == "27·27 = 729 δ a map, each to 1 of 3·3 pixels"
    assert to_x.macs == 0



def test_what_does_not_fit_is_said():
    with pytest.raises(ShapeError, match="does not fit into 2"):
        MaxPool(3).output_shape((1, 1, 2, 2))
    with pytest.raises(ShapeError, match="holds no pixel"):
        MaxPool(1, 1, 1).forward(numbers(1, 1, 1, 3, 3))
    with pytest.raises(ShapeError, match=r"pooling needs \(B, C\)"):
        MaxPool(2).output_shape((3, 3))
