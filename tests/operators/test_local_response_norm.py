"""Local response normalisation.

Mutation that turns this red: in local_response_norm.py swap `before` and `after` in backward (even windows only);
drop `/ self.size`."""

from __future__ import annotations

import numpy as np
import pytest
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from convscope.errors import ShapeError, UsageError
from convscope.operators.local_response_norm import LocalResponseNorm
from tests.operators.against_torch import SEEDS, close, hold_differences, numbers
from tests.operators.explained import hold, texts


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 3), st.integers(1, 7), st.lists(st.integers(1, 3), min_size=1, max_size=3), st.integers(1, 6),
       st.sampled_from([1e-4, 1.0]), st.sampled_from([0.5, 0.75, 2.0]), st.sampled_from([1.0, 2.0]), SEEDS)
def test_agrees_with_torch(batch, channels, rest, size, alpha, beta, k, seed) -> None:
    hold(LocalResponseNorm(size, alpha, beta, k), lambda x: F.local_response_norm(x, size, alpha, beta, k),
         numbers(seed, batch, channels, *rest, scale=3.0))


def test_agrees_with_difference_quotients() -> None:
    hold_differences(LocalResponseNorm(4, alpha=0.5), numbers(0, 2, 5, 2))


def test_the_formula_of_the_paper() -> None:
    """Krizhevsky et al. 2012: b = a / (2 + 1e-4 · Σ a²)^0.75 over 5 neighbouring channels, cut at the ends."""
    a = numbers(0, 1, 8, 2, 2, scale=50.0)
    wanted = np.empty_like(a)
    for c in range(8):
        near = a[:, max(0, c - 2):c + 3]
        wanted[:, c] = a[:, c] / (2 + 1e-4 * (near**2).sum(axis=1)) ** 0.75
    close(LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0).forward(a), wanted)


def test_costs() -> None:
    assert LocalResponseNorm(5).macs((1, 96, 55, 55)) == LocalResponseNorm(5).parameters((1, 96, 55, 55)) == 0


def test_errors() -> None:
    with pytest.raises(ShapeError, match=r"local response normalisation of an input of shape \(2, 3\).*no spatial axis"):
        LocalResponseNorm(3).forward(np.ones((2, 3)))
    with pytest.raises(UsageError, match=r"a window of 0 channels.*at least 1"):
        LocalResponseNorm(0).forward(np.ones((2, 3, 4)))


def test_worked_out_in_three_lines() -> None:
    x = np.array([[[1.0], [2.0], [2.0]]])
    assert texts(LocalResponseNorm(3, alpha=3.0, beta=0.5, k=0.0).explain_value((0, 1, 0), x)) == [
        "Σ of the squares of 3 channels (0 … 2) = 9", "D = k + alpha/size · Σ = 0 + 3/3 · 9 = 9",
        "y = x / D^beta = 2 / 9^0.5 = 0.666667"]
