"""Average pooling against torch.

Turns red if in avg_pool.py `np.minimum(start + w.kernel, n + w.padding)` becomes `start + w.kernel` (overhang is counted).
"""

import numpy as np
import pytest
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from convscope.errors import ShapeError, UsageError
from convscope.operators.avg_pool import AvgPool
from tests.operators.against_torch import numbers
from tests.operators.explained import hold, texts
from tests.operators.support import supported

FUNCTIONS = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


@st.composite
def poolings(draw: st.DrawFn):
    rank = draw(st.sampled_from([1, 2, 2, 3]))
    each = st.tuples(*[st.integers(1, 4)] * rank)
    kernel = draw(each)
    stride = draw(st.one_of(each, st.sampled_from([(), None])))
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    # torch's 3-D pooling wants k pixels even where padding would do
    least = [max(k - 2 * p, 1) if rank < 3 else k for k, p in zip(kernel, padding, strict=True)]
    size = tuple(n + draw(st.integers(0, 4)) for n in least)
    divisor = draw(st.sampled_from([None, None, 3, -2])) if rank > 1 else None  # torch's 1-D pooling has no divisor
    pool = AvgPool(kernel, stride, padding, draw(st.booleans()), draw(st.booleans()), divisor)
    return pool, (2, draw(st.integers(1, 2)), *size)


@settings(max_examples=200, deadline=None)
@given(poolings())
def test_forward_and_gradient_equal_torch(case):
    pool, shape = case
    rank = len(shape) - 2
    arguments = [pool.kernel_size, pool.stride or None, pool.padding, pool.ceil_mode, pool.count_include_pad]
    arguments += [pool.divisor_override] if rank > 1 else []
    hold(pool, lambda x: FUNCTIONS[rank](x, *arguments), numbers(1, *shape))


@pytest.mark.parametrize("pool", [AvgPool(3, 2, 1), AvgPool((2, 3)), AvgPool(3, 2, 0, True)])
def test_windows_are_where_the_gradient_is(pool):
    supported(pool, numbers(1, 2, 3, 8, 10))


def test_counts():
    assert AvgPool(2).macs((1, 6, 28, 28)) == AvgPool(2).parameters((1, 6, 28, 28)) == 0


@pytest.mark.parametrize(("pool", "divisor"), [
    (AvgPool(2), "n = 4 pixels"),
    (AvgPool(2, padding=1), "n = 4: 1 pixel and 3 zeros of the padding"),
    (AvgPool(2, padding=1, count_include_pad=False),
     "n = 1: real pixels only (count_include_pad is off), 3 of 4 are padding"),
    (AvgPool(2, divisor_override=5), "n = 5 (divisor_override)"),
])
def test_why_the_divisor_is_what_it_is(pool, divisor):
    assert texts(pool.explain_value((0, 0, 0, 0), np.ones((1, 1, 4, 4))))[1] == divisor


def test_what_hangs_over_the_padding_does_not_count():
    pool, x = AvgPool(3, 2, 1, ceil_mode=True), np.ones((1, 1, 4, 4))  # the last window starts at 3 and needs 3 … 5
    assert texts(pool.explain_value((0, 0, 2, 2), x)) == [
        "Σ of the window's 1 number = 1",
        "n = 4: 1 pixel and 3 zeros of the padding; 5 more hang over the padding (ceil_mode) and do not count",
        "y = 1 / 4 = 0.25",
    ]
    (to_x,) = pool.gradients(x.shape)
    assert to_x.sizes == "3·3 = 9 δ a map, δ/4 … δ/9 (fewer pixels at the border) to each of 3·3 pixels"



def test_what_does_not_fit_is_said():
    with pytest.raises(UsageError, match="divisor_override must not be 0"):
        AvgPool(2, divisor_override=0)
    with pytest.raises(ShapeError, match="does not fit into 2"):
        AvgPool(3).forward(numbers(1, 1, 1, 2, 2))
    with pytest.raises(ShapeError, match="kernel_size"):
        AvgPool((2, 2, 2)).output_shape((1, 1, 4, 4))
