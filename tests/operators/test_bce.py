"""Binary cross-entropy of probabilities and of logits.

Mutation that turns this red: in bce.py drop `_votes(…) *` in backward; `np.maximum(no, -100)` to `no`; `1e-12` to `1e-3`."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from convscope.errors import DataError, ShapeError
from convscope.operators.bce import BinaryCrossEntropy, BinaryCrossEntropyWithLogits
from tests.operators.against_torch import SEEDS, close, hold, hold_differences, numbers, recorded
from tests.operators.written import hold_written, texts

REDUCTION = st.sampled_from(["none", "mean", "sum"])


def shares(seed: int, *shape: int) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-numbers(seed, *shape))))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 4), max_size=3), REDUCTION, st.booleans(), SEEDS)
def test_probabilities_agree_with_torch(shape: list[int], reduction: str, weighted: bool, seed: int) -> None:
    def function(x: torch.Tensor, t: torch.Tensor, w: torch.Tensor | None) -> torch.Tensor:
        return F.binary_cross_entropy(x, t, None if w is None else w.detach(), reduction=reduction)

    w = shares(seed + 2, *shape) if weighted else None
    hold(BinaryCrossEntropy(reduction), function, shares(seed, *shape), shares(seed + 1, *shape), w)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 3), st.integers(1, 4), REDUCTION, st.sampled_from([1.0, 20.0, 1e3]), st.booleans(), st.booleans(),
       SEEDS)
def test_logits_agree_with_torch(n, k, reduction, scale, weighted, votes, seed) -> None:
    w, v = (shares(seed + 2, n, k) if weighted else None), (3 * shares(seed + 3, k) if votes else None)

    def function(x: torch.Tensor, t: torch.Tensor, w: torch.Tensor | None, v: torch.Tensor | None) -> torch.Tensor:
        return F.binary_cross_entropy_with_logits(x, t, None if w is None else w.detach(), reduction=reduction,
                                                  pos_weight=None if v is None else v.detach())

    hold(BinaryCrossEntropyWithLogits(reduction), function, numbers(seed, n, k, scale=scale), shares(seed + 1, n, k), w, v)


def test_certain_and_wrong() -> None:
    """Probabilities of exactly 0 and 1: torch cuts the logarithm at −100 and the divisor at 1e-12, and so do we."""
    x, t = np.array([0.0, 1.0, 0.0, 1.0, 1e-13]), np.array([1.0, 0.0, 0.0, 1.0, 0.5])
    tensor = torch.from_numpy(x.copy()).requires_grad_()
    loss = F.binary_cross_entropy(tensor, torch.from_numpy(t), reduction="none")
    loss.sum().backward()
    close(BinaryCrossEntropy("none").forward(x, t), loss.detach().numpy())
    # In float64 too, torch's 1e-12 is rounded to float32.
    close(BinaryCrossEntropy("none").backward(np.ones(5), x, t)[0], tensor.grad.numpy(), tolerance=1e-7)


def test_agree_with_difference_quotients() -> None:
    hold_differences(BinaryCrossEntropy(), shares(0, 2, 3), shares(1, 2, 3), shares(2, 2, 3))
    hold_differences(BinaryCrossEntropyWithLogits(), numbers(0, 2, 3), shares(1, 2, 3), shares(2, 2, 3), shares(3, 3))


class Net(nn.Module):
    def __init__(self, function, **options) -> None:
        super().__init__()
        self.function, self.options = function, options

    def forward(self, x: torch.Tensor, target: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return self.function(x, target, weight, **self.options)


def test_are_read_from_exported_graphs() -> None:
    x, t, w = (torch.from_numpy(shares(k, 2, 3)) for k in range(3))
    found = recorded(Net(F.binary_cross_entropy, reduction="sum"), x, t, w, kind=BinaryCrossEntropy)
    assert found == BinaryCrossEntropy("sum")
    found = recorded(Net(F.binary_cross_entropy_with_logits), x, t, w, kind=BinaryCrossEntropyWithLogits)
    assert found == BinaryCrossEntropyWithLogits()


def test_errors() -> None:
    with pytest.raises(DataError, match=r"outside 0 … 1.*x reaches from -1 to 2.*apply a sigmoid first"):
        BinaryCrossEntropy().forward(np.array([-1.0, 2.0]), np.ones(2))
    with pytest.raises(DataError, match=r"outside 0 … 1"):
        BinaryCrossEntropy().forward(np.array([np.nan]), np.ones(1))
    for operator in (BinaryCrossEntropy(), BinaryCrossEntropyWithLogits()):
        with pytest.raises(ShapeError, match=r"a target of shape \(2,\) for an output of shape \(1,\)"):
            operator.forward(np.ones(1), np.ones(2))


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_written_out_as_autograd_has_it(reduction: str) -> None:
    x, p, t, w, v = numbers(0, 3, 4), shares(0, 3, 4), shares(1, 3, 4), shares(2, 4), 3 * shares(3, 4)
    one, two = BinaryCrossEntropy(reduction), BinaryCrossEntropyWithLogits(reduction)
    from_p, from_x = F.binary_cross_entropy, F.binary_cross_entropy_with_logits
    hold_written(one, lambda x, t: from_p(x, t, reduction=reduction), p, t)
    hold_written(one, lambda x, t, w: from_p(x, t, w.detach(), reduction=reduction), p, t, w)
    hold_written(two, lambda x, t: from_x(x, t, reduction=reduction), x, t)
    hold_written(two, lambda x, t, w, v: from_x(x, t, w.detach(), pos_weight=v.detach(), reduction=reduction), x, t, w, v)


def test_written_out_in_numbers() -> None:
    x, yes = np.array([0.0]), np.array([1.0])
    logits = BinaryCrossEntropyWithLogits().explain_gradient(0, (0,), np.array(1.0), x, yes)
    assert texts(logits)[:2] == ["p = σ(x) = 1/(1 + e^−0) = 0.5", "p − target = 0.5 − 1 = −0.5"]
    floor = BinaryCrossEntropy("sum").explain_value((), x, yes)
    assert texts(floor)[0] == "loss[0] = −(1·log 0 + 0·log 1) = 100 (logarithms end at −100)"
    assert BinaryCrossEntropy().gradients((4,), (4,))[0].how.endswith("divided by the 4 numbers of the mean")
