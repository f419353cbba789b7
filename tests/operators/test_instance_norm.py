"""Instance normalisation. Mutation that turns this red: in instance_norm.py `range(2, x.ndim)` to `range(1, x.ndim)`."""

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
from convscope.operators.instance_norm import InstanceNorm
from tests.operators.against_torch import SEEDS, hold, hold_differences, numbers, recorded
from tests.operators.written import hold_written, texts


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 3), st.integers(1, 3), st.lists(st.integers(2, 4), min_size=1, max_size=3), st.booleans(),
       st.booleans(),
       st.sampled_from([1e-5, 0.5]), SEEDS)
def test_agrees_with_torch(batch: int, c: int, rest: list[int], affine: bool, own: bool, eps: float, seed: int) -> None:
    learned = [numbers(seed + 1, c), numbers(seed + 2, c)] if affine else [None, None]
    running = [None, None] if own else [numbers(seed + 3, c), numbers(seed + 4, c) ** 2 + 0.1]

    def function(x, w, b, m, v):
        kept = [None if t is None else t.detach() for t in (m, v)]
        return F.instance_norm(x, *kept, w, b, use_input_stats=own, eps=eps)

    hold(InstanceNorm(own, eps), function, numbers(seed, batch, c, *rest, scale=2.0), *learned, *running)


def test_agrees_with_difference_quotients() -> None:
    hold_differences(InstanceNorm(), numbers(0, 2, 2, 3), numbers(1, 2), numbers(2, 2))


def test_is_read_from_an_exported_graph() -> None:
    x = torch.from_numpy(numbers(0, 2, 3, 4, 4))
    assert recorded(nn.InstanceNorm2d(3, eps=1e-3, affine=True), x, kind=InstanceNorm) == InstanceNorm(True, 1e-3)
    assert recorded(nn.InstanceNorm2d(3, track_running_stats=True).eval(), x, kind=InstanceNorm) == InstanceNorm(False)


def test_costs_and_windows() -> None:
    shapes = ((1, 4, 7, 7), (4,), (4,), (4,), (4,))
    assert InstanceNorm().parameters(*shapes) == 8
    assert InstanceNorm().macs(*shapes) == 0
    assert InstanceNorm().windows(*shapes) == (WHOLE, WHOLE)
    assert InstanceNorm(False).windows(*shapes) == (Window(), Window())


def test_errors() -> None:
    with pytest.raises(ShapeError,
                       match=r"instance normalisation of an input of shape \(2, 3\).*no spatial axis.*\(B, C, H, W\)"):
        InstanceNorm().forward(np.ones((2, 3)))
    with pytest.raises(UsageError, match=r"needs running statistics"):
        InstanceNorm(False).forward(np.ones((2, 3, 4)))


def test_written_out_as_autograd_has_it() -> None:
    hold_written(InstanceNorm(), lambda x, w, b: F.instance_norm(x, weight=w, bias=b), numbers(0, 3, 4, 2, 5), numbers(1, 4),
                 numbers(2, 4))
    hold_written(InstanceNorm(False), lambda x, w, b, m, v: F.instance_norm(x, m.detach(), v.detach(), w, b, False),
                 numbers(0, 3, 4, 2, 5), numbers(1, 4), numbers(2, 4), numbers(3, 4), numbers(4, 4) ** 2 + 0.1)
    working = InstanceNorm(eps=0.0).explain_value((0, 1, 0), np.array([[[1.0, 3.0], [10.0, 30.0]]]))
    assert texts(working)[0] == "μ = mean of the 2 values of image 0, channel 1 = 40/2 = 20"
    assert InstanceNorm().gradients((3, 4, 2, 5))[0].sizes == "means over 2·5 = 10 values"
