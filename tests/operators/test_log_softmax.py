"""Log-softmax.

Mutation that turns this red: in log_softmax.py `np.exp(self.forward(x))` to `self.forward(x)` in backward."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from convscope.geometry import WHOLE, Window
from convscope.operators.log_softmax import LogSoftmax
from tests.operators.against_torch import SEEDS, hold, hold_differences, numbers, recorded
from tests.operators.written import hold_written, texts


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.data(), st.sampled_from([1.0, 30.0, 1e4]), SEEDS)
def test_agrees_with_torch(shape: list[int], data: st.DataObject, scale: float, seed: int) -> None:
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    hold(LogSoftmax(dim), lambda x: x.log_softmax(dim), numbers(seed, *shape, scale=scale))


def test_agrees_with_difference_quotients() -> None:
    hold_differences(LogSoftmax(1), numbers(0, 2, 3, 2))


def test_is_read_from_an_exported_graph() -> None:
    assert recorded(nn.LogSoftmax(1), torch.from_numpy(numbers(0, 2, 3)), kind=LogSoftmax) == LogSoftmax(1)


def test_windows() -> None:
    assert LogSoftmax(2).windows((1, 3, 7, 7)) == (WHOLE, Window())


def test_written_out_as_autograd_has_it() -> None:
    for dim in (0, 1, -1):
        hold_written(LogSoftmax(dim), lambda x, dim=dim: x.log_softmax(dim), numbers(0, 3, 4, 2))
    x, delta = np.array([[0.0, np.log(3.0)]]), np.array([[1.0, 0.0]])
    assert texts(LogSoftmax().explain_gradient(0, (0, 1), delta, x))[-1] == "∂L/∂x[1] = δ[1] − p[1]·Σ = 0 − 0.75·1 = −0.75"
    assert LogSoftmax().explain_value((0, 0), np.array([[0.0, 1000.0]])).value == -1000
