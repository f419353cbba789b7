"""Mean squared error.

Mutation that turns this red: in mse.py `2 * (x - target)` to `(x - target)`;
in _reduce.py `losses.size` to `len(losses)`."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from convscope.errors import DataError, ShapeError, UsageError
from convscope.geometry import WHOLE, Window
from convscope.operators.mse import MeanSquaredError
from tests.operators.against_torch import SEEDS, hold, hold_differences, numbers, recorded
from tests.operators.written import hold_written, texts


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 4), max_size=4), st.sampled_from(["none", "mean", "sum"]), SEEDS)
def test_agrees_with_torch(shape: list[int], reduction: str, seed: int) -> None:
    hold(MeanSquaredError(reduction), lambda x, t: F.mse_loss(x, t, reduction=reduction), numbers(seed, *shape),
         numbers(seed + 1, *shape))


def test_agrees_with_difference_quotients() -> None:
    hold_differences(MeanSquaredError(), numbers(0, 2, 3), numbers(1, 2, 3))


class Net(nn.Module):
    def __init__(self, reduction: str) -> None:
        super().__init__()
        self.reduction = reduction

    def forward(self, x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return F.mse_loss(x, target, reduction=self.reduction)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_is_read_from_an_exported_graph(reduction: str) -> None:
    pair = torch.from_numpy(numbers(0, 2, 3)), torch.from_numpy(numbers(1, 2, 3))
    assert recorded(Net(reduction), *pair, kind=MeanSquaredError) == MeanSquaredError(reduction)


def test_windows() -> None:
    assert MeanSquaredError().windows((1, 3, 4, 4)) == (WHOLE, WHOLE)
    assert MeanSquaredError("none").windows((1, 3, 4, 4)) == (Window(), Window())


def test_errors() -> None:
    with pytest.raises(ShapeError,
                       match=r"a target of shape \(2,\) for an output of shape \(2, 1\).*broadcasting would compare"):
        MeanSquaredError().forward(np.ones((2, 1)), np.ones(2))
    with pytest.raises(DataError, match=r"the mean of no losses.*\(0, 3\).*at least one example"):
        MeanSquaredError().forward(np.ones((0, 3)), np.ones((0, 3)))
    with pytest.raises(UsageError, match=r"no reduction named 'avg'.*'none', 'mean' or 'sum'"):
        MeanSquaredError("avg")


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_written_out_as_autograd_has_it(reduction: str) -> None:
    hold_written(MeanSquaredError(reduction), lambda x, t: F.mse_loss(x, t, reduction=reduction), numbers(0, 3, 4),
                 numbers(1, 3, 4))


def test_written_out_in_numbers() -> None:
    x, target = np.array([3.0, 1.0]), np.array([1.0, 1.5])
    assert texts(MeanSquaredError().explain_value((), x, target)) == [
        "loss[0] = (3 − 1)² = 4", "loss[1] = (1 − 1.5)² = 0.25", "Σ over 2 numbers = 4.25", "loss = Σ/n = 4.25/2 = 2.125"]
    assert texts(MeanSquaredError().explain_gradient(0, (0,), np.array(1.0), x, target)) == [
        "x − target = 3 − 1 = 2", "2 · (x − target) = 4", "∂L/∂x[0] = 4/2 = 2 (divided by the 2 numbers of the mean)"]
    many = MeanSquaredError("sum").explain_value((), np.arange(20.0), np.zeros(20))
    assert texts(many)[-2:] == ["the other 12 numbers = 506", "Σ over 20 numbers = 2470"]
    assert MeanSquaredError().gradients((2,), (2,))[1].how == "−2 · (x − target), divided by the 2 numbers of the mean"
