"""Transposed convolution against torch, against loops.

Turns red if in conv_transpose.py `weight_gradient(x, delta, …)` becomes `weight_gradient(delta, x, …)`.
"""

import numpy as np
import pytest
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from convscope.errors import ShapeError
from convscope.operators.conv import Conv
from convscope.operators.conv_transpose import ConvTranspose
from tests import oracles
from tests.operators.against_torch import numbers
from tests.operators.explained import hold
from tests.operators.recipes import weight_gradient
from tests.operators.support import supported

FUNCTIONS = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


@st.composite
def convolutions(draw: st.DrawFn):
    rank = draw(st.sampled_from([1, 2, 2, 3]))
    each = st.tuples(*[st.integers(1, 3)] * rank)
    kernel, stride, size = draw(each), draw(each), draw(each)
    dilation, padding = draw(st.tuples(*[st.integers(1, 3)] * rank)), draw(st.tuples(*[st.integers(0, 2)] * rank))
    extra = tuple(draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True))
    facts = zip(size, kernel, stride, padding, dilation, extra, strict=True)
    assume(all((n - 1) * s - 2 * p + d * (k - 1) + e + 1 > 0 for n, k, s, p, d, e in facts))
    groups, into, out = draw(st.integers(1, 3)), draw(st.integers(1, 2)), draw(st.integers(1, 2))
    x, weight = numbers(1, draw(st.integers(1, 2)), groups * into, *size), numbers(2, groups * into, out, *kernel)
    bias = numbers(3, groups * out) if draw(st.booleans()) else None
    return ConvTranspose(stride, padding, extra, dilation, groups), x, weight, bias


@settings(max_examples=150, deadline=None)
@given(convolutions())
def test_forward_and_gradients_equal_torch(case):
    op, x, weight, bias = case
    arguments = (op.stride, op.padding, op.output_padding, op.groups, op.dilation)
    hold(op, lambda x, w, b=None: FUNCTIONS[x.ndim - 2](x, w, b, *arguments), x, weight, bias)


def test_a_slow_twin_gives_the_same_numbers_and_the_same_count():
    x, weight = numbers(1, 2, 3, 4, 3), numbers(2, 3, 2, 3, 4)
    y, count = oracles.transposed_convolution(x, weight, stride=2, padding=1, output_padding=1)
    op = ConvTranspose(2, 1, 1)
    np.testing.assert_allclose(op.forward(x, weight), y, rtol=1e-12)
    assert op.macs(x.shape, weight.shape) == count
    assert op.parameters(x.shape, weight.shape, (2,)) == 3 * 2 * 3 * 4 + 2


@pytest.mark.parametrize("op", [ConvTranspose(2, 1), ConvTranspose(3, 0, 1), ConvTranspose(1, 2, 0, 2)])
def test_windows_are_where_the_gradient_is(op):
    supported(op, numbers(1, 1, 2, 5, 6), numbers(2, 2, 3, 3, 4))


def test_aten_convolution_says_by_a_flag_which_it_is():
    settings_ = {"stride": [2], "padding": [1], "dilation": [1], "transposed": False, "output_padding": [0], "groups": 1}
    assert ConvTranspose.read("convolution", settings_, ()) == Conv((2,), (1,), (1,), 1)
    transposed = ConvTranspose.read("convolution", settings_ | {"transposed": True}, ())
    assert transposed == ConvTranspose((2,), (1,), (0,), (1,), 1)


@settings(max_examples=60, deadline=None)
@given(convolutions())
def test_the_printed_recipe_gives_the_gradient_of_the_weights(case):
    op, x, weight, _ = case
    delta = numbers(4, *op.output_shape(x.shape, weight.shape))
    _, to_weight = op.gradients(x.shape, weight.shape)
    # δ and x in each other's place; 'δ: 7 + 2·1 = 9' pads by 1 on both sides
    grad = weight_gradient(to_weight.sizes, x, delta, op.groups, padded_name="δ")
    np.testing.assert_allclose(grad, op.backward(delta, x, weight)[1], atol=1e-10)


def test_the_backward_pass_in_sizes():
    to_x, to_weight, to_bias = ConvTranspose(2, 1).gradients((2, 3, 4, 4), (3, 2, 3, 3), (2,))
    assert to_x.sizes == "⌊(7 + 2·1 − 3)/2⌋ + 1 = 4"  # the ordinary convolution that it is the transpose of
    assert to_weight.sizes == "δ: 7 + 2·1 = 9; x: (4 − 1)·2 + 1 = 7; valid: 9 − 7 + 1 = 3"
    assert to_bias.sizes == "7·7 = 49 positions an image, 2 images"
    assert to_x.macs == to_weight.macs == ConvTranspose(2, 1).macs((2, 3, 4, 4), (3, 2, 3, 3))



def test_what_does_not_fit_is_said():
    with pytest.raises(ShapeError, match="does not fit an input"):
        ConvTranspose().output_shape((1, 3, 4, 4), (4, 3, 2, 2))
    with pytest.raises(ShapeError, match="padding 3 takes all away"):
        ConvTranspose(padding=3).output_shape((1, 3, 2, 2), (3, 3, 2, 2))
