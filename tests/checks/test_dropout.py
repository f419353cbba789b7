"""Dropout that leaves nothing to learn from.

Mutation that turns this red: in dropout.py, `top >= self.single` → `top < self.single`.
"""

from __future__ import annotations

from torch import nn

from convscope.checks.dropout import Dropout
from tests.checks import small


def _dropping(*rates: float) -> nn.Sequential:
    first = [nn.Linear(8, 32), nn.ReLU(), nn.Dropout(rates[0])]
    rest = [m for p in rates[1:] for m in (nn.Linear(32, 32), nn.ReLU(), nn.Dropout(p))]
    return small.net(*first, *rest, nn.Linear(32, 3))


def test_strong_dropout_is_found_and_leaving_it_out_mends() -> None:
    program = small.made(_dropping(0.95, 0.9))
    (one,) = small.found(Dropout(), program)
    assert (one.fault, one.strength) == ("A12", 0.8)
    assert abs(float(one.evidence["kept by all"]) - 0.005) < 1e-6
    control, changed = small.shares(program, one.change)
    assert changed > control + 0.2


def test_usual_dropout_is_left_alone() -> None:
    assert small.found(Dropout(), small.made(_dropping(0.2))) == []
    assert small.found(Dropout(), small.made(small.net())) == []


def test_odd_programs_are_no_matter() -> None:
    for name, evidence in small.odd().items():
        assert isinstance(list(Dropout()(evidence)), list), name
