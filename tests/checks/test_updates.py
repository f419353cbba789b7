"""A training that ends while the loss still falls.

Mutation that turns this red: in updates.py, `not 0 < n <= self.few` → `0 < n <= self.few`.
"""

from __future__ import annotations

from torch import nn

from convscope.checks.updates import Updates
from tests.checks import small


def test_too_few_updates_are_found_and_more_mend() -> None:
    program = small.made(small.net(), "adam:0.005", epochs=2, batch_size=32)
    (one,) = small.found(Updates(), program, 2.0)
    assert (one.fault, one.strength) == ("P11", 0.8)
    assert one.evidence["updates"] == 16
    control, changed = small.shares(program, one.change, 400)
    assert changed > control + 0.2


def test_trainings_that_are_long_enough_are_left_alone() -> None:
    assert small.found(Updates(), small.made(small.net(), "adam:0.01", epochs=60), 2.0) == []
    assert small.found(Updates(), small.made(small.net(), epochs=None)) == []


def test_a_flat_curve_is_another_matter() -> None:
    x = small.rings()[0]
    frozen = small.made(small.net(nn.Linear(8, 3)), "sgd:1e-9", (x, small.rings()[1]), epochs=5)
    assert [s for s in small.found(Updates(), frozen) if s.strength > 0.3] == []


def test_odd_programs_are_no_matter() -> None:
    for name, evidence in small.odd().items():
        assert isinstance(list(Updates()(evidence)), list), name
