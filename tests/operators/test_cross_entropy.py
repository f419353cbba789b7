"""Cross-entropy from logits. Mutation that turns this red: in cross_entropy.py drop `* np.expand_dims(counts, axis)`;
`self.label_smoothing / classes` to `self.label_smoothing`; `(weights * chosen).sum()` to `counts.sum()`."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from convscope.errors import DataError, ShapeError
from convscope.geometry import WHOLE, Window
from convscope.operators.cross_entropy import CrossEntropy
from tests.operators.against_torch import SEEDS, hold, hold_differences, numbers, recorded

REDUCTION = st.sampled_from(["none", "mean", "sum"])


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4), st.integers(1, 5), st.lists(st.integers(1, 3), max_size=2), REDUCTION, st.booleans(),
       st.booleans(), st.data())
def test_indices_agree_with_torch(n, classes, rest, reduction, weighted, ignored, data) -> None:
    seed, smoothing = data.draw(SEEDS), data.draw(st.sampled_from([0.0, 0.1, 1.0]))
    target = np.random.default_rng(seed).integers(0, classes, (n, *rest))
    ignore = int(target.flat[-1]) if ignored and (target != target.flat[-1]).any() else -100
    weight = np.abs(numbers(seed + 1, classes)) + 0.1 if weighted else None

    def function(x: torch.Tensor, t: torch.Tensor, w: torch.Tensor | None) -> torch.Tensor:
        return F.cross_entropy(x, t, None if w is None else w.detach(), reduction=reduction, ignore_index=ignore,
                               label_smoothing=smoothing)

    hold(CrossEntropy(reduction, ignore, smoothing), function, numbers(seed, n, classes, *rest, scale=5.0), target, weight)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4), st.integers(1, 5), st.lists(st.integers(1, 3), max_size=2), REDUCTION, st.booleans(), SEEDS)
def test_distributions_agree_with_torch(n, classes, rest, reduction, weighted, seed) -> None:
    wanted = torch.from_numpy(numbers(seed + 1, n, classes, *rest)).softmax(1).numpy()
    weight = np.abs(numbers(seed + 2, classes)) + 0.1 if weighted else None

    def function(x: torch.Tensor, t: torch.Tensor, w: torch.Tensor | None) -> torch.Tensor:
        return F.cross_entropy(x, t.detach(), None if w is None else w.detach(), reduction=reduction, label_smoothing=0.2)

    hold(CrossEntropy(reduction, label_smoothing=0.2), function, numbers(seed, n, classes, *rest), wanted, weight)


@pytest.mark.parametrize("reduction", ["none", "mean"])
def test_one_example_without_batch(reduction: str) -> None:
    hold(CrossEntropy(reduction), lambda x, t: F.cross_entropy(x, t, reduction=reduction), numbers(0, 4), np.array(2))


def test_far_logits() -> None:
    hold(CrossEntropy(), F.cross_entropy, np.array([[1e4, 0.0], [0.0, 1e4]]), np.array([1, 1]))


def test_agrees_with_difference_quotients() -> None:
    hold_differences(CrossEntropy(label_smoothing=0.1), numbers(0, 3, 4), np.array([0, 3, 1]),
                     np.array([1.0, 2.0, 3.0, 4.0]))


class Net(nn.Module):
    def __init__(self, **options) -> None:
        super().__init__()
        self.options = options

    def forward(self, x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(x, target, **self.options)


def test_is_read_from_exported_graphs() -> None:
    pair = torch.from_numpy(numbers(0, 2, 3)), torch.tensor([2, 0])
    assert recorded(Net(), *pair, kind=CrossEntropy) == CrossEntropy()
    read = recorded(Net(reduction="sum", ignore_index=0, label_smoothing=0.1), *pair, kind=CrossEntropy)
    assert read == CrossEntropy("sum", 0, 0.1)


def test_windows() -> None:
    assert CrossEntropy().windows((2, 5, 4, 4), (2, 4, 4)) == (WHOLE, WHOLE)
    assert CrossEntropy("none").windows((2, 5, 4, 4), (2, 4, 4)) == (Window(), Window())


def test_errors() -> None:
    x = np.zeros((2, 3))
    with pytest.raises(DataError, match=r"there is no class 3.*3 classes, 0 … 2.*width of the last layer"):
        CrossEntropy().forward(x, np.array([0, 3]))
    with pytest.raises(DataError, match=r"there is no class -1"):
        CrossEntropy().forward(x, np.array([0, -1]))
    with pytest.raises(DataError, match=r"the mean loss over no examples.*all ignored.*leave such a batch out"):
        CrossEntropy().forward(x, np.array([-100, -100]))
    with pytest.raises(ShapeError,
                       match=r"a target of shape \(3,\) and int64 for logits of shape \(2, 3\).*axis 1 counts 3 classes"):
        CrossEntropy().forward(x, np.array([0, 1, 2]))
    with pytest.raises(ShapeError, match=r"class weights of shape \(2,\) for 3 classes.*one weight a class"):
        CrossEntropy().forward(x, np.array([0, 1]), np.ones(2))
