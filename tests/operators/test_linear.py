"""Dense layers against torch, against loops.

Turns red if in linear.py `errors.T @ rows` becomes `rows.T @ errors`.
"""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from convscope.errors import ShapeError
from convscope.geometry import Window
from convscope.operators.linear import AddMM, Linear
from tests import oracles
from tests.operators.against_torch import numbers
from tests.operators.explained import hold, texts


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 3), max_size=3), st.integers(1, 5), st.integers(1, 4), st.booleans())
def test_linear_equals_torch(lead, into, out, with_bias):
    hold(Linear(), F.linear, numbers(1, *lead, into), numbers(2, out, into), numbers(3, out) if with_bias else None)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4), st.sampled_from([1.0, 0.5, -2.0]), st.integers(0, 3))
def test_addmm_equals_torch(b, c, k, factor, form):
    bias = [(k,), (b, k), (1, k), ()][form]
    arrays = numbers(1, *bias), numbers(2, b, c), numbers(3, c, k)
    hold(AddMM(factor, 1.5), lambda b, x, w: torch.addmm(b, x, w, beta=factor, alpha=1.5), *arrays)


def test_macs_and_parameters_by_count():
    _, count = oracles.matrix_product(numbers(1, 3, 5), numbers(2, 5, 4))
    assert Linear().macs((3, 5), (4, 5)) == AddMM().macs((4,), (3, 5), (5, 4)) == count
    assert Linear().parameters((3, 5), (4, 5), (4,)) == AddMM().parameters((4,), (3, 5), (5, 4)) == 24


def test_windows_per_axis():
    assert Linear().windows((1, 8, 7, 5), (4, 5)) == (Window(), "whole")  # B H W C: width stays, channels are read whole
    assert Linear().windows((1, 5), (4, 5)) == AddMM().windows((4,), (3, 5), (5, 4)) == ()


def test_a_batch_is_one_matrix_product():
    x, weight, bias = numbers(1, 64, 400), numbers(2, 120, 400), numbers(3, 120)
    value = Linear().explain_value((5, 7), x, weight, bias)
    assert texts(value)[0] == "the whole batch is one matrix product: (64×400) · (120×400)ᵀ = (64×120), 3,072,000 products"
    assert value.terms.left_at[3].tolist() == [5, 3]
    assert value.terms.right_at[3].tolist() == [7, 3]
    delta = numbers(4, 64, 120)
    slope = Linear().explain_gradient(1, (7, 3), delta, x, weight, bias)
    assert texts(slope)[0] == ("δᵀ·x is one matrix product over the batch, and this number a sum over its 64 rows: "
                               "(64×120)ᵀ · (64×400) = (120×400), 3,072,000 products")
    assert slope.terms.left_at[:, 0].tolist() == list(range(64))
    assert slope.value == pytest.approx(float(delta[:, 7] @ x[:, 3]))
    assert [g.sizes for g in Linear().gradients(x.shape, weight.shape, bias.shape)] == [
        "δ·W: (64×120) · (120×400) = (64×400)", "δᵀ·x: (64×120)ᵀ · (64×400) = (120×400)", "64×120 → 120"]
    assert [g.macs for g in Linear().gradients(x.shape, weight.shape)] == [64 * 120 * 400] * 2


def test_the_older_spelling_scales_the_sum():
    arrays = numbers(1, 3), numbers(2, 4, 6), numbers(3, 6, 3)
    value = AddMM(1, 2).explain_value((1, 2), *arrays)
    total, bias = value.terms.products.sum(), arrays[0][2]
    assert texts(value)[-1].startswith("y[1, 2] = 2 · ")
    assert value.value == pytest.approx(2 * total + bias)
    assert [g.sizes for g in AddMM().gradients((3,), (4, 6), (6, 3))] == [
        "4×3 → 3", "δ·Wᵀ: (4×3) · (6×3)ᵀ = (4×6)", "xᵀ·δ: (4×6)ᵀ · (4×3) = (6×3)"]



def test_what_does_not_fit_is_said():
    with pytest.raises(ShapeError, match="the last axis of x must be 5"):
        Linear().output_shape((3, 6), (4, 5))
    with pytest.raises(ShapeError, match="the inner sizes must agree"):
        AddMM().output_shape((4,), (3, 6), (5, 4))
