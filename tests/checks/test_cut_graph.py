"""A loss that does not hang on the parameters, or on some of them.

Mutation that turns this red: in cut_graph.py, `blind == forwards` → `blind != forwards`.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from convscope.checks.cut_graph import CutGraph
from tests.checks import watched
from tests.watching.loops import Net


def _plain(output: Tensor, y: Tensor) -> Tensor:
    return torch.tensor(F.cross_entropy(output, y).item(), requires_grad=True)


def test_a_loss_of_plain_numbers_is_found() -> None:
    (one,) = watched.of(CutGraph(), loss=_plain)
    assert (one.fault, one.strength, one.shows) == ("P7", 1.0, True)
    assert ".item()" in one.cause


def test_training_under_no_grad_is_found() -> None:
    (one,) = watched.of(CutGraph(), grad=False, validate="eval")
    assert (one.fault, one.strength, one.shows) == ("P7", 1.0, True)


@pytest.mark.parametrize("how", ["detach", "data", "numpy"])
def test_layers_before_a_cut_are_named(how: str) -> None:
    (one,) = watched.of(CutGraph(), model=lambda: Net(how))
    assert one.fault == "P7"
    assert one.strength >= 0.8
    assert one.evidence["parameters without gradient"] == 6
    assert one.where.startswith("conv.weight")


def test_healthy_loops_are_left_alone() -> None:
    watched.assert_healthy_is_left_alone(CutGraph())
