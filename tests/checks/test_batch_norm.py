"""Batches too small for batch norm, and statistics that lag.

Mutation that turns this red: in batch_norm.py, `if batch < self.least:` → `if batch > self.least:`.
"""

from __future__ import annotations

from torch import nn

from convscope.checks.batch_norm import BatchNorm
from tests.checks import small


def _normed(momentum: float = 0.1) -> nn.Sequential:
    return small.net(nn.Linear(8, 32), nn.BatchNorm1d(32, momentum=momentum), nn.ReLU(), nn.Linear(32, 3))


def test_batches_of_two_are_too_small() -> None:
    (one, *_) = small.found(BatchNorm(), small.made(_normed(), batch_size=2, epochs=1))
    assert (one.fault, one.strength) == ("A11", 0.8)
    assert one.change is not None
    assert one.change.apply(small.made(_normed(), batch_size=2)).examples.batch == 32


def test_statistics_that_never_move_are_exact_and_momentum_mends() -> None:
    x, y = small.rings()
    program = small.made(_normed(0.0), data=(x * 20 + 30, y), epochs=40)
    (one,) = small.found(BatchNorm(), program, 2.0)
    assert (one.strength, one.shows) == (1.0, True)
    control, changed = small.shares(program, one.change)
    assert changed > control + 0.2


def test_a_slow_momentum_lags() -> None:
    x, y = small.rings()
    (one,) = small.found(BatchNorm(), small.made(_normed(1e-4), data=(x * 20 + 30, y), epochs=40), 2.0)
    assert one.strength == 0.8
    assert float(one.evidence["share of the start still in the statistics"]) > 0.9


def test_sound_batch_norm_is_left_alone() -> None:
    assert small.found(BatchNorm(), small.made(_normed(), epochs=40)) == []
    assert small.found(BatchNorm(), small.made(small.net())) == []


def test_odd_programs_are_no_matter() -> None:
    for name, evidence in small.odd().items():
        assert isinstance(list(BatchNorm()(evidence)), list), name
