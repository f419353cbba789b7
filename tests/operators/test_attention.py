"""Scaled dot-product attention against torch.

Turns red if in attention.py the softmax's backward loses its `- (from_value * a).sum(axis=-1, keepdims=True)`.
"""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from convscope.errors import ShapeError, UsageError
from convscope.operators.attention import Attention
from tests.operators.against_torch import close, numbers
from tests.operators.explained import hold, hold_explained, texts


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.sampled_from([None, 0.3]),
       st.sampled_from(["none", "causal", "added", "boolean", "shared"]))
def test_forward_and_gradients_equal_torch(n, s, e, v, scale, masking):
    q, k, value = numbers(1, 2, 2, n, e), numbers(2, 2, 2, s, e), numbers(3, 2, 2, s, v)
    mask = {"added": numbers(4, 2, 2, n, s), "boolean": numbers(4, n, s) > -0.3, "shared": numbers(4, 1, s)}.get(masking)
    if mask is not None and mask.dtype == bool:
        mask[:, 0] = True  # torch gives a query that may look at nothing NaN gradients
    causal = masking == "causal"
    op = Attention(is_causal=causal, scale=scale)
    theirs = F.scaled_dot_product_attention
    hold(op, lambda q, k, v, m=None: theirs(q, k, v, m, is_causal=causal, scale=scale), q, k, value, mask)


def test_a_query_that_may_look_at_nothing_gets_nothing():
    q, mask = numbers(1, 1, 2, 3), np.array([[True, True], [False, False]])
    y = Attention().forward(q, q, q, mask)
    close(y, F.scaled_dot_product_attention(*[torch.tensor(q)] * 3, torch.tensor(mask)).numpy(), "masked row")
    assert not y[0, 1].any()


def test_macs_by_hand():
    assert Attention().macs((2, 3, 5, 4), (2, 3, 7, 4), (2, 3, 7, 6)) == 2 * 3 * (5 * 7 * 4 + 5 * 7 * 6)
    assert Attention().windows((2, 3, 5, 4), (2, 3, 7, 4), (2, 3, 7, 6)) == ("whole", "whole")


def test_what_is_not_computed_is_said():
    q = numbers(1, 1, 2, 3)
    with pytest.raises(UsageError, match=r"dropout_p is 0\.5"):
        Attention(dropout_p=0.5).forward(q, q, q)
    with pytest.raises(UsageError, match="enable_gqa is set"):
        Attention(enable_gqa=True).forward(q, q, q)
    with pytest.raises(ShapeError, match="query and key share E"):
        Attention().output_shape((1, 2, 3), (1, 2, 4), (1, 2, 4))


def test_how_much_each_key_counts():
    q, k, v = np.array([[[2.0]]]), np.array([[[0.0], [np.log(3.0) / 2]]]), np.array([[[4.0], [8.0]]])
    value = Attention().explain_value((0, 0, 0), q, k, v)
    assert texts(value) == ["key 0: scale · q·k = 0, after the softmax a = 0.25",
                            "key 1: scale · q·k = 1.09861, after the softmax a = 0.75",
                            "Σ of 2 products = 7", "y[0, 0, 0] = 7"]
    boolean = np.ones((1, 2), bool)
    with pytest.raises(UsageError, match=r"mask of Attention has no gradient.*choose among query, key, value"):
        Attention().explain_gradient(3, (0, 0), np.ones((1, 1, 1)), q, k, v, boolean)


def test_gradients_follow_broadcast_heads():
    q, k, v, mask = numbers(1, 2, 3, 2, 4), numbers(2, 3, 5, 4), numbers(3, 2, 1, 5, 6), numbers(4, 2, 5)
    hold_explained(Attention(), q, k, v, mask, places=6)
