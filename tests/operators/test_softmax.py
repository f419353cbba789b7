"""Softmax.

Mutation that turns this red: in softmax.py drop `- x.max(…)` (overflow warns); in backward `(delta * y)` to `delta`."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from convscope.errors import ShapeError
from convscope.geometry import WHOLE, Window
from convscope.operators.softmax import Softmax
from tests.operators.against_torch import SEEDS, hold, hold_differences, numbers, recorded
from tests.operators.written import hold_written, texts


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.data(), st.sampled_from([1.0, 30.0, 1e4]), SEEDS)
def test_agrees_with_torch(shape: list[int], data: st.DataObject, scale: float, seed: int) -> None:
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    hold(Softmax(dim), lambda x: x.softmax(dim), numbers(seed, *shape, scale=scale))


def test_agrees_with_difference_quotients() -> None:
    hold_differences(Softmax(1), numbers(0, 2, 3, 2))


def test_is_read_from_an_exported_graph() -> None:
    assert recorded(nn.Softmax(-1), torch.from_numpy(numbers(0, 2, 3)), kind=Softmax) == Softmax(-1)


def test_windows_and_integers() -> None:
    assert Softmax(1).windows((1, 3, 7, 7)) == (Window(), Window())
    assert Softmax(-1).windows((1, 3, 7, 7)) == (Window(), WHOLE)
    assert Softmax(0).forward(np.array([5, 5])).tolist() == [0.5, 0.5]


def test_errors() -> None:
    with pytest.raises(ShapeError, match=r"softmax along axis 2.*the 2 axes of \(1, 3\).*name one of them"):
        Softmax(2).forward(np.ones((1, 3)))


def test_written_out_as_autograd_has_it() -> None:
    for dim in (0, 1, -1):
        hold_written(Softmax(dim), lambda x, dim=dim: x.softmax(dim), numbers(0, 3, 4, 2))
    x, delta = np.array([[0.0, np.log(3.0)]]), np.array([[1.0, 0.0]])
    assert texts(Softmax().explain_value((0, 1), x))[-1] == "y[1] = 1/1.33333 = 0.75"
    assert texts(Softmax().explain_gradient(0, (0, 1), delta, x)) == [
        "y[1] = 0.75", "Σ_j δ[j]·y[j] over 2 classes = 0.25", "∂L/∂x[1] = y[1]·(δ[1] − Σ) = 0.75·(0 − 0.25) = −0.1875"]
