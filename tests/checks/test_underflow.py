"""Gradients below the smallest number of half precision.

Mutation that turns this red: in underflow.py, `if not zeros > self.share` → `if zeros > self.share`.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import convscope as cs
from convscope.checks.underflow import Underflow
from tests.checks import watched


def _small(scale: float, dtype: torch.dtype) -> list[object]:
    """A linear layer whose loss is multiplied by `scale`."""
    torch.manual_seed(0)
    net = nn.Linear(8, 3).to(dtype)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    x = torch.randn(16, 8).to(dtype)
    with cs.watch(net, optimizer, full=True) as run:
        for _ in range(6):
            optimizer.zero_grad()
            (net(x).float().square().mean() * scale).backward()
            optimizer.step()
    return watched.said(Underflow(), run.result())


def test_gradients_that_float16_cannot_hold_are_found() -> None:
    (one,) = _small(1e-8, torch.float16)
    assert (one.fault, one.strength, one.shows) == ("P12", 1.0, True)
    assert one.evidence["zeros in half-precision gradients"] == 1.0


@pytest.mark.parametrize(("scale", "dtype"), [(1.0, torch.float16), (1e-8, torch.bfloat16), (1e-8, torch.float32)])
def test_what_can_be_held_is_left_alone(scale: float, dtype: torch.dtype) -> None:
    assert _small(scale, dtype) == []


def test_an_autocast_loop_is_left_alone() -> None:
    def loss(output: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(output.float(), y)

    assert watched.of(Underflow(), dtype=torch.bfloat16, loss=loss) == []


def test_healthy_loops_are_left_alone() -> None:
    watched.assert_healthy_is_left_alone(Underflow())
