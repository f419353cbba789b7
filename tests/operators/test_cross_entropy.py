"""Cross-entropy from logits. Mutation that turns this red: in _classes.py `weights * np.expand_dims(counts, axis)` to
`weights`; `self.smoothing / classes` to `self.smoothing`; in cross_entropy.py `p * total - mine` to `p - mine`."""

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
from convscope.operators.cross_entropy import CrossEntropy
from tests.operators.against_torch import SEEDS, hold, hold_differences, numbers, recorded
from tests.operators.written import hold_written, texts

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


# --- written out -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_written_out_as_autograd_has_it(reduction: str, smoothing: float) -> None:
    def function(x, t, w=None):
        return F.cross_entropy(x, t.detach(), None if w is None else w.detach(), reduction=reduction, ignore_index=1,
                               label_smoothing=smoothing)

    operator = CrossEntropy(reduction, 1, smoothing)
    hold_written(operator, function, numbers(0, 4, 5), np.array([0, 4, 1, 2]), np.array([1.0, 2.0, 3.0, 4.0, 5.0]))
    hold_written(operator, function, numbers(0, 12, 5), np.arange(12) % 5)
    hold_written(operator, function, numbers(0, 2, 5, 2, 3), np.arange(12).reshape(2, 2, 3) % 5)
    hold_written(operator, function, numbers(0, 5), np.array(2))
    shares = torch.from_numpy(numbers(1, 4, 5)).softmax(1).numpy()
    delta = np.ones(4) if reduction == "none" else np.array(1.0)
    working = operator.explain_gradient(0, (1, 2), delta, numbers(0, 4, 5), shares)
    whole = operator.backward(delta, numbers(0, 4, 5), shares)[0]
    assert working.value == pytest.approx(whole[1, 2], abs=1e-12)


def test_the_gradient_is_p_minus_y() -> None:
    x, target = np.log(np.array([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]])), np.array([1, 0])
    right = CrossEntropy().explain_gradient(0, (0, 1), np.array(1.0), x, target)
    wrong = CrossEntropy("sum").explain_gradient(0, (0, 2), np.array(1.0), x, target)
    assert texts(right) == ["p[1] = e^x[1]/Σ_j e^x[j] = 0.3 (example 0)", "y[1] = 1 (the right class)",
                            "p − y = 0.3 − 1 = −0.7",
                            "∂L/∂x[0,1] = −0.7/2 = −0.35 (divided by the 2 examples of the mean)"]
    assert texts(wrong)[1:] == ["y[2] = 0 (the right class is 1)", "p − y = 0.5 − 0 = 0.5", "∂L/∂x[0,2] = 0.5"]
    assert right.formula == "∂L/∂x = δ/n · (p − y)"
    assert texts(CrossEntropy().explain_value((), x, target)) == [
        "loss[0] = −log p[1] = −log 0.3 = 1.20397", "loss[1] = −log p[0] = −log 0.6 = 0.510826",
        "Σ over 2 examples = 1.7148", "loss = Σ/n = 1.7148/2 = 0.857399"]


def test_the_backward_pass_in_words() -> None:
    found = CrossEntropy().gradients((64, 10), (64,))
    assert [(g.of, g.how, g.sizes) for g in found] == [
        ("x", "p − y, divided by the 64 examples of the mean", "64·10 = 640 numbers")]
    assert CrossEntropy("sum").gradients((64, 10), (64,))[0].how == "p − y"
    with pytest.raises(UsageError, match=r"target of CrossEntropy has no gradient.*choose among x"):
        CrossEntropy().explain_gradient(1, (0,), np.array(1.0), np.zeros((1, 2)), np.array([0]))
    ignored = CrossEntropy(ignore_index=0).explain_gradient(0, (0, 1), np.array(1.0), np.zeros((2, 2)), np.array([0, 1]))
    assert texts(ignored)[1] == "the class of example 0 does not count: 0"
