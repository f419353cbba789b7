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
