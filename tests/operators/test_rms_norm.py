"""Root mean square normalisation. Mutation that turns this red: in rms_norm.py drop `x_hat *` in backward's mean term;
take `np.finfo(np.float32)` for the missing eps; in explain_gradient `here * (total / n)` to `total / n`."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from convscope.errors import ShapeError, UsageError
from convscope.geometry import WHOLE, Window
from convscope.operators.rms_norm import RMSNorm
from tests.operators.against_torch import SEEDS, hold, hold_differences, numbers, recorded
from tests.operators.written import hold_written, texts


def torchs(shape: tuple[int, ...], eps: float | None = None):
    return lambda x, weight=None: F.rms_norm(x, shape, weight, eps)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.booleans(), st.sampled_from([None, 1e-5, 0.5]), st.data())
def test_agrees_with_torch(shape, affine, eps, data) -> None:
    seed, rank = data.draw(SEEDS), data.draw(st.integers(1, len(shape)))
    last = tuple(shape[-rank:])
    arrays = [numbers(seed, *shape, scale=3.0), *([numbers(seed + 1, *last)] if affine else [])]
    hold(RMSNorm(last, eps), torchs(last, eps), *arrays)


def test_agrees_with_difference_quotients() -> None:
    hold_differences(RMSNorm((3,), 1e-5), numbers(0, 2, 2, 3), numbers(1, 3))


def test_is_read_from_an_exported_graph() -> None:
    x = torch.from_numpy(numbers(0, 2, 4, 6))
    assert recorded(nn.RMSNorm(6), x, kind=RMSNorm) == RMSNorm((6,))
    assert recorded(nn.RMSNorm((4, 6), eps=1e-3), x, kind=RMSNorm) == RMSNorm((4, 6), 1e-3)


def test_written_out() -> None:
    hold_written(RMSNorm((2, 3), 1e-5), torchs((2, 3), 1e-5), numbers(0, 4, 2, 3), numbers(1, 2, 3))
    hold_written(RMSNorm((3,)), torchs((3,)), numbers(0, 4, 2, 3))
    hold_written(RMSNorm((4,)), torchs((4,)), numbers(0, 4), numbers(1, 4))
    working = RMSNorm((2,), 0.0).explain_value((0, 1), np.array([[1.0, 7.0]]), np.array([1.0, 10.0]))
    assert texts(working)[-2:] == ["x̂ = x/r = 7/5 = 1.4", "y = weight · x̂ = 10 · 1.4 = 14"]


def test_costs_and_windows() -> None:
    assert RMSNorm((6,)).parameters((2, 4, 5, 6), (6,)) == 6
    assert RMSNorm((6,)).macs((2, 4, 5, 6), (6,)) == 0
    assert RMSNorm((6,)).windows((2, 4, 5, 6)) == (Window(), WHOLE)
    assert RMSNorm((6,)).gradients((2, 4, 5, 6), (6,))[1].sizes == "240/6 = 40 terms each"


def test_errors() -> None:
    x = numbers(0, 2, 3)
    with pytest.raises(ShapeError, match=r"cannot normalise over the last axes \(4,\).*the end of x's shape"):
        RMSNorm((4,)).forward(x)
    with pytest.raises(ShapeError, match=r"a weight of shape \(2,\) in an RMS norm over \(3,\).*must have that shape"):
        RMSNorm((3,)).forward(x, np.ones(2))
    with pytest.raises(UsageError, match=r"weight of RMSNorm has no gradient.*choose among x"):
        RMSNorm((3,)).explain_gradient(1, (0,), x, x)
