"""Group normalisation. Mutation that turns this red: in group_norm.py `reshape(x.shape[0], self.num_groups, -1)` to
`reshape(x.shape[0], 1, -1)`."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from convscope.errors import ShapeError
from convscope.geometry import WHOLE
from convscope.operators.group_norm import GroupNorm
from tests.operators.against_torch import SEEDS, hold, hold_differences, numbers, recorded
from tests.operators.written import hold_written, texts


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.lists(st.integers(1, 4), min_size=1, max_size=3),
       st.booleans(),
       st.sampled_from([1e-5, 0.5]), SEEDS)
def test_agrees_with_torch(batch: int, groups: int, each: int, rest: list[int], affine: bool, eps: float, seed: int) -> None:
    c = groups * each
    x = numbers(seed, batch, c, *rest, scale=2.0)
    if batch * each * int(np.prod(rest)) == 1:  # torch refuses one value in all
        x = np.concatenate([x, x + 1])
    learned = [numbers(seed + 1, c), numbers(seed + 2, c)] if affine else [None, None]
    hold(GroupNorm(groups, eps), lambda x, w, b: F.group_norm(x, groups, w, b, eps), x, *learned)


def test_agrees_with_difference_quotients() -> None:
    hold_differences(GroupNorm(2), numbers(0, 2, 4, 3), numbers(1, 4), numbers(2, 4))


def test_is_read_from_an_exported_graph() -> None:
    x = torch.from_numpy(numbers(0, 2, 6, 3, 3))
    assert recorded(nn.GroupNorm(3, 6, eps=1e-3), x, kind=GroupNorm) == GroupNorm(3, 1e-3)


def test_costs_and_windows() -> None:
    assert GroupNorm(2).parameters((1, 4, 7, 7), (4,), (4,)) == 8
    assert GroupNorm(2).macs((1, 4, 7, 7)) == 0
    assert GroupNorm(2).windows((1, 4, 7, 7)) == (WHOLE, WHOLE)


@pytest.mark.parametrize("groups", [0, 3])
def test_errors(groups: int) -> None:
    with pytest.raises(ShapeError, match=rf"cannot split 4 channels into {groups} equal groups.*choose a divisor of 4"):
        GroupNorm(groups).forward(np.ones((1, 4)))


def test_written_out_as_autograd_has_it() -> None:
    hold_written(GroupNorm(2), lambda x, w, b: F.group_norm(x, 2, w, b), numbers(0, 3, 4, 2, 5), numbers(1, 4),
                 numbers(2, 4))
    hold_written(GroupNorm(2), lambda x: F.group_norm(x, 2), numbers(0, 3, 4))
    working = GroupNorm(2, eps=0.0).explain_value((0, 3), np.array([[1.0, 3.0, 10.0, 30.0]]))
    assert texts(working)[0] == "μ = mean of the 2 values of image 0, channels 2 … 3 = 40/2 = 20"
    assert GroupNorm(2).gradients((3, 4, 5))[0].sizes == "means over 2·5 = 10 values"
