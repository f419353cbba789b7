"""Convolution against torch, against loops, against a count by hand.

Turns red if in conv.py `n // 2 for n in spans` becomes `n - n // 2 for n in spans` (the odd pixel of 'same' at the start),
or if in `_back_sizes` `− {before} − {after}` becomes `− {after} − {before}` (cropped at the wrong end).
"""

import numpy as np
import pytest
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from convscope.errors import ShapeError
from convscope.operators.conv import Conv
from tests import oracles
from tests.operators.against_torch import numbers
from tests.operators.explained import hold
from tests.operators.recipes import input_gradient, weight_gradient
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


@settings(max_examples=150, deadline=None)
@given(convolutions())
def test_the_printed_recipe_followed_literally_gives_the_gradients(case):
    conv, x, weight, _ = case
    delta = numbers(4, *conv.output_shape(x.shape, weight.shape))
    to_x, to_weight = conv.gradients(x.shape, weight.shape)
    expected = conv.backward(delta, x, weight)
    assert (to_x.of, to_weight.of) == ("x", "weight")
    np.testing.assert_allclose(input_gradient(to_x.sizes, delta, weight, conv.groups), expected[0], atol=1e-10)
    np.testing.assert_allclose(weight_gradient(to_weight.sizes, delta, x, conv.groups), expected[1], atol=1e-10)


def test_the_backward_pass_in_words_and_sizes():
    to_x, to_weight, to_bias = Conv(4, 2).gradients((1, 3, 224, 224), (64, 3, 11, 11), (64,))
    assert to_x.how == ("δ, stride − 1 zeros put between its numbers, correlated in full with the kernels, flipped in both "
                        "axes, in/out channels swapped; what no window read gets 0; then the padding is cropped")
    assert to_x.sizes == ("δ: (55 − 1)·4 + 1 = 217; full: 217 + 11 − 1 = 227; 1 unread: 227 + 1 = 228; "
                          "crop: 228 − 2 − 2 = 224")
    assert to_weight.sizes == ("x: 224 + 2 + 2 = 228; 1 unread: 228 − 1 = 227; δ: (55 − 1)·4 + 1 = 217; "
                               "valid: 227 − 217 + 1 = 11")
    assert to_bias.sizes == "55·55 = 3025 positions an image, 1 image"
    assert to_x.macs == to_weight.macs == Conv(4, 2).macs((1, 3, 224, 224), (64, 3, 11, 11)) == 70_276_800
    plain = Conv().gradients((1, 1, 28, 28), (1, 1, 5, 5))  # 28×28, 5×5, nothing else: nothing else is said
    assert [g.sizes for g in plain] == ["full: 24 + 5 − 1 = 28", "valid: 28 − 24 + 1 = 5"]
    wide = Conv(dilation=(1, 3)).gradients((1, 1, 9, 9), (1, 1, 3, 3))[1]
    assert wide.sizes == ("rows: valid: 9 − 7 + 1 = 3; columns: valid: 9 − 3 + 1 = 7; dilation 3: every 3rd of 7 = 3")


def test_one_value_and_one_delta_by_hand():
    x, weight = np.arange(9.0).reshape(1, 1, 3, 3), np.array([[[[1.0, 2.0], [3.0, 4.0]]]])
    value = Conv().explain_value((0, 0, 1, 0), x, weight, np.array([0.5]))
    assert value.terms.left_values.tolist() == [3, 4, 6, 7]  # the window's rows are not turned
    assert value.terms.right_values.tolist() == [1, 2, 3, 4]
    assert [line.text for line in value.lines] == ["Σ of 4 products = 57", "y = 57 + 0.5 (bias) = 57.5"]
    delta = np.array([[[[1.0, 10.0], [100.0, 1000.0]]]])
    back = Conv().explain_gradient(0, (0, 0, 1, 1), delta, x, weight)  # the centre lay under each weight once
    pairs = zip(back.terms.left_values, back.terms.right_values, strict=True)
    assert sorted(pairs) == [(1, 4), (10, 3), (100, 2), (1000, 1)]


def test_a_window_names_its_place_in_the_whole_input():
    grouped = Conv(2, 1, groups=2).explain_value((0, 3, 0, 1), numbers(1, 1, 4, 5, 5), numbers(2, 4, 2, 3, 3))
    assert grouped.grids[0].start == (2, -1, 1)  # channels 2 and 3, one row in the padding, column 1
    assert grouped.terms.left_at[:, 0].tolist() == [2] * 9 + [3] * 9


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
