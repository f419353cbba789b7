"""Convolution against torch, against loops, against a count by hand.

Turns red if in conv.py `n // 2 for n in spans` becomes `n - n // 2 for n in spans` (the odd pixel of 'same' at the start).
"""

import numpy as np
import pytest
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from convscope.errors import ShapeError
from convscope.operators.conv import Conv
from tests import oracles
from tests.operators.against_torch import hold, numbers
from tests.operators.support import supported

FUNCTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


@st.composite
def convolutions(draw: st.DrawFn):
    rank = draw(st.sampled_from([1, 2, 2, 3]))
    each = st.tuples(*[st.integers(1, 3)] * rank)
    kernel, stride, dilation = draw(each), draw(each), draw(st.tuples(*[st.integers(1, 2)] * rank))
    padding = draw(st.one_of(st.tuples(*[st.integers(0, 2)] * rank), st.sampled_from(["same", "valid"])))
    if padding == "same":
        stride = (1,) * rank
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    size = tuple(r + draw(st.integers(0, 3)) for r in reach)
    groups, into, out = draw(st.integers(1, 3)), draw(st.integers(1, 2)), draw(st.integers(1, 2))
    x, weight = numbers(1, draw(st.integers(1, 2)), groups * into, *size), numbers(2, groups * out, into, *kernel)
    bias = numbers(3, groups * out) if draw(st.booleans()) else None
    return Conv(stride, padding, dilation, groups), x, weight, bias


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@settings(max_examples=150, deadline=None)
@given(convolutions())
def test_forward_and_gradients_equal_torch(case):
    conv, x, weight, bias = case
    function = FUNCTIONS[x.ndim - 2]
    arguments = (conv.stride, conv.padding, conv.dilation, conv.groups)
    hold(conv, lambda x, w, b=None: function(x, w, b, *arguments), x, weight, bias)
    hold(conv, lambda x, w: function(x, w, None, *arguments), x, weight)


def test_a_slow_twin_gives_the_same_numbers_and_the_same_count():
    x, weight, bias = numbers(1, 2, 4, 7, 6), numbers(2, 6, 2, 3, 2), numbers(3, 6)
    y, count = oracles.convolution(x, weight, bias, stride=2, padding=1, dilation=2, groups=2)
    conv = Conv(2, 1, 2, 2)
    np.testing.assert_allclose(conv.forward(x, weight, bias), y, rtol=1e-12)
    assert conv.macs(x.shape, weight.shape, bias.shape) == count


def test_published_counts_of_the_first_layer_of_alexnet():
    shapes = (1, 3, 227, 227), (96, 3, 11, 11), (96,)  # Krizhevsky et al. 2012: 55·55·96 = 290,400 neurons
    assert Conv(4).output_shape(*shapes) == (1, 96, 55, 55)
    assert Conv(4).parameters(*shapes) == 34_944
    assert Conv(4).parameters_without_sharing(*shapes) == 290_400 * 364 == 105_705_600
    assert Conv(4).parameters_without_sharing(*shapes[:2]) == 290_400 * 363
    assert Conv(4).macs(*shapes) == 105_415_200


@pytest.mark.parametrize("conv", [Conv(2, 1), Conv(1, 2, 2), Conv(3, 0), Conv(1, "same", 2)])
def test_windows_are_where_the_gradient_is(conv):
    supported(conv, numbers(1, 1, 2, 9, 11), numbers(2, 3, 2, 3, 2))


@pytest.mark.parametrize(("conv", "shapes", "message"), [
    (Conv(), ((1, 3, 8, 8), (4, 2, 3, 3)), "does not fit 3 channels"),
    (Conv(groups=3), ((1, 6, 8, 8), (4, 2, 3, 3)), "in 3 groups"),
    (Conv(), ((1, 3, 8, 8), (4, 3, 3)), "1 spatial axes against 2"),
    (Conv(), ((3, 8), (4, 3)), "a convolution needs"),
    (Conv(), ((1, 3, 8, 8), (4, 3, 3, 3), (5,)), "a bias of shape"),
    (Conv(padding="full"), ((1, 3, 8, 8), (4, 3, 3, 3)), "padding 'full' is not known"),
    (Conv((1, 2, 3)), ((1, 3, 8, 8), (4, 3, 3, 3)), r"stride \(1, 2, 3\) does not fit 2"),
    (Conv(), ((1, 3, 2, 2), (4, 3, 3, 3)), "does not fit into 2"),
])
def test_what_does_not_fit_is_said(conv, shapes, message):
    with pytest.raises(ShapeError, match=message):
        conv.output_shape(*shapes)
