"""Reductions over whole axes against torch.

Turns red if in global_pool.py `top / top.sum(…)` becomes `top` (every one of several maxima gets all of delta).
"""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from convscope.geometry import Window
from convscope.operators.global_pool import GlobalPool
from tests.operators.against_torch import numbers
from tests.operators.explained import hold, texts
from tests.operators.support import supported

FUNCTIONS = {"mean": torch.mean, "sum": torch.sum, "amax": torch.amax}


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(FUNCTIONS)), st.sets(st.integers(-4, -1), max_size=4), st.booleans(), st.booleans())
def test_forward_and_gradient_equal_torch(kind, dims, keepdim, with_ties):
    x = numbers(1, 2, 3, 4, 5)
    dim = tuple(dims)
    x = np.round(x) if with_ties else x
    hold(GlobalPool(kind, dim, keepdim), lambda x: FUNCTIONS[kind](x, dim=dim, keepdim=keepdim), x)


@pytest.mark.parametrize("kind", ["mean", "sum"])
def test_no_axes_means_all(kind):
    hold(GlobalPool(kind), FUNCTIONS[kind], numbers(1, 2, 3))


def test_windows():
    assert GlobalPool("mean", (2, 3)).windows((1, 8, 7, 7)) == ("whole", "whole")
    assert GlobalPool("amax", -1).windows((1, 8, 7, 7)) == (Window(), "whole")
    assert GlobalPool("sum", 1, True).windows((1, 8, 7, 7)) == (Window(), Window())
    supported(GlobalPool("mean", (3,), True), numbers(1, 1, 2, 4, 5))


def test_read_takes_the_kind_from_the_name():
    assert GlobalPool.read("mean", {"dim": [2, 3], "keepdim": True}, ((1, 8, 7, 7),)) == GlobalPool("mean", (2, 3), True)
    assert GlobalPool.read("sum", {"dim": None}, ((1, 8),)) == GlobalPool("sum", None)


def test_shares_in_words():
    x, delta = np.array([[[[1.0, 4.0], [4.0, 3.0]]]]), np.array([[6.0]])
    assert texts(GlobalPool("mean", (2, 3)).explain_value((0, 0), x)) == ["Σ of 4 numbers = 12", "y = 12 / 4 = 3"]
    mean = GlobalPool("mean", (2, 3)).explain_gradient(0, (0, 0, 1, 1), delta, x)
    assert texts(mean) == ["∂L/∂x[0, 0, 1, 1] = δ[0, 0] / 4 = 6 / 4 = 1.5"]
    shared = GlobalPool("amax", (2, 3)).explain_gradient(0, (0, 0, 0, 1), delta, x)
    assert texts(shared) == ["∂L/∂x[0, 0, 0, 1] = δ[0, 0] / 2 (shared by 2 largest) = 3"]
    small = GlobalPool("amax", (2, 3)).explain_gradient(0, (0, 0, 0, 0), delta, x)
    assert texts(small) == ["x[0, 0, 0, 0] = 1 is not the largest: ∂L/∂x[0, 0, 0, 0] = 0"]
    assert GlobalPool("mean", (2, 3)).gradients(x.shape)[0].sizes == "n = 2·2 = 4: each gets δ/4"
