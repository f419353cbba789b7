"""Negative log-likelihood. Mutation that turns this red: in nll.py `return -q` to `return q`; in _classes.py
`(weights * chosen).sum()` to `counts.sum()`, `np.where(q != 0, self.log_p(x), 0)` to `self.log_p(x)`."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from convscope.errors import DataError, ShapeError
from convscope.operators.cross_entropy import CrossEntropy
from convscope.operators.log_softmax import LogSoftmax
from convscope.operators.nll import NegativeLogLikelihood
from tests.operators.against_torch import SEEDS, close, hold, hold_differences, numbers, recorded
from tests.operators.written import hold_written, texts


def torchs(reduction: str = "mean", ignore: int = -100):
    return lambda x, t, w=None: F.nll_loss(x, t, None if w is None else w.detach(), reduction=reduction, ignore_index=ignore)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 4), st.integers(1, 5), st.lists(st.integers(1, 3), max_size=2), *(st.booleans(),) * 2, st.data())
def test_agrees_with_torch(n, classes, rest, weighted, ignored, data) -> None:
    seed, reduction = data.draw(SEEDS), data.draw(st.sampled_from(["none", "mean", "sum"]))
    target = np.random.default_rng(seed).integers(0, classes, (n, *rest))
    ignore = int(target.flat[-1]) if ignored and (target != target.flat[-1]).any() else -100
    weight = np.abs(numbers(seed + 1, classes)) + 0.1 if weighted else None
    operator = NegativeLogLikelihood(reduction, ignore)
    hold(operator, torchs(reduction, ignore), numbers(seed, n, classes, *rest, scale=5.0), target, weight)


def test_after_a_log_softmax_it_is_the_cross_entropy() -> None:
    x, target = numbers(0, 5, 4), np.array([0, 3, 1, 1, 2])
    log_p = LogSoftmax(1).forward(x)
    close(NegativeLogLikelihood().forward(log_p, target), CrossEntropy().forward(x, target))
    delta = NegativeLogLikelihood().backward(np.array(1.0), log_p, target)[0]
    close(LogSoftmax(1).backward(delta, x)[0], CrossEntropy().backward(np.array(1.0), x, target)[0])


def test_agrees_with_difference_quotients() -> None:
    hold_differences(NegativeLogLikelihood(), numbers(0, 3, 4), np.array([0, 3, 1]))


def test_a_class_of_probability_zero_costs_nothing_where_it_is_not_wanted() -> None:
    x = np.log(np.array([[0.5, 0.5, 1.0]])) + np.array([[0.0, 0.0, -np.inf]])
    close(NegativeLogLikelihood().forward(x, np.array([0])), np.array(np.log(2)))
    assert NegativeLogLikelihood().explain_value((), x, np.array([0])).value == pytest.approx(np.log(2))


class Net(nn.Module):
    def __init__(self, **options) -> None:
        super().__init__()
        self.options = options

    def forward(self, x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return F.nll_loss(x, target, **self.options)


def test_is_read_from_exported_graphs() -> None:
    pair = torch.from_numpy(numbers(0, 2, 3)), torch.tensor([2, 0])
    assert recorded(Net(), *pair, kind=NegativeLogLikelihood) == NegativeLogLikelihood()
    read = recorded(Net(reduction="sum", ignore_index=0), *pair, kind=NegativeLogLikelihood)
    assert read == NegativeLogLikelihood("sum", 0)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_written_out(reduction: str) -> None:
    operator = NegativeLogLikelihood(reduction, 2)
    hold_written(operator, torchs(reduction, 2), numbers(0, 3, 4), np.array([1, 2, 0]), np.array([0.5, 1.0, 2.0, 3.0]))
    hold_written(operator, torchs(reduction, 2), numbers(0, 2, 3, 2, 2), np.arange(8).reshape(2, 2, 2) % 3)
    delta = np.ones(2) if reduction == "none" else np.array(1.0)
    said = texts(operator.explain_gradient(0, (0, 1), delta, numbers(0, 2, 4), np.array([1, 0])))
    assert said[:2] == ["y[1] = 1 (the right class, example 0)", "−y = −1"]


def test_errors() -> None:
    with pytest.raises(ShapeError, match=r"a target of shape \(2, 3\) and float64.*give one class index an example$"):
        NegativeLogLikelihood().forward(np.zeros((2, 3)), np.zeros((2, 3)))
    with pytest.raises(DataError, match=r"there is no class 3"):
        NegativeLogLikelihood().forward(np.zeros((2, 3)), np.array([0, 3]))
