"""Hidden layers through which too little passes.

Mutation that turns this red: in capacity.py, `if not tight and not (fails and small):` → `if tight:`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from convscope.checks.capacity import Capacity
from tests.checks import small


def test_a_bottleneck_is_found_and_widening_mends() -> None:
    program = small.made(small.net(nn.Linear(8, 1), nn.ReLU(), nn.Linear(1, 16), nn.ReLU(), nn.Linear(16, 3)))
    (one,) = small.found(Capacity(), program)
    assert one.fault == "A6"
    assert one.strength >= 0.6
    control, changed = small.shares(program, one.change)
    assert changed > control + 0.2


def test_wide_networks_and_single_layers_are_left_alone() -> None:
    assert small.found(Capacity(), small.made(small.net())) == []
    assert small.found(Capacity(), small.made(small.net(nn.Linear(8, 3)))) == []


def test_a_network_that_is_no_chain_gets_no_remedy() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.norm, self.last = nn.Linear(8, 1), nn.LayerNorm(1), nn.Linear(1, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.norm(torch.relu(self.first(x))))

    (one,) = small.found(Capacity(), small.made(Odd()))
    assert one.change is None


def test_odd_programs_are_no_matter() -> None:
    for name, evidence in small.odd().items():
        assert isinstance(list(Capacity()(evidence)), list), name
