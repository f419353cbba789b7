"""Dead ReLU units and saturated sigmoids, at the begin and after the trial.

Mutation that turns this red: in units.py, `(flat == 0).all(0)` → `(flat == 1).all(0)`.
"""

from __future__ import annotations

import torch
from torch import nn

from convscope.checks.units import Units
from convscope.diagnosing.evidence import Evidence
from tests.checks import small


def test_a_dead_layer_is_exact_and_waking_it_mends() -> None:
    model = small.net()
    nn.init.constant_(model.get_parameter("0.bias"), -50.0)
    program = small.made(model, epochs=2)
    (one,) = small.found(Units(), program)
    assert (one.fault, one.strength, one.shows, one.evidence["dead at the begin"]) == ("A2", 1.0, True, 1.0)
    control, changed = small.shares(program.twin(), one.change, 2000)
    assert changed > control + 0.05


def test_units_that_die_in_training_are_seen() -> None:
    x, y = small.rings()
    program = small.made(small.net(), "sgd:500", (x + 2, y), epochs=3)
    faults = {s.fault: s for s in small.found(Units(), program)}
    numbers = faults["A2"].evidence
    assert float(numbers["dead at the begin"]) < 0.5 <= float(numbers["dead after the trial"])


def test_saturated_units_are_seen_and_mended() -> None:
    model = small.net(nn.Linear(8, 32), nn.Sigmoid(), nn.Linear(32, 3))
    with torch.no_grad():
        model.get_parameter("0.weight").mul_(200)
    program = small.made(model, "sgd:0.001", epochs=5)
    (one,) = small.found(Units(), program)
    assert (one.fault, one.strength) == ("A3", 0.8)
    assert one.change is not None
    slopes = [Evidence(p).gradients["0.weight"] or 0.0 for p in (program, one.change.apply(program.twin()))]
    assert slopes[1] > 3 * slopes[0]


def test_healthy_units_are_left_alone() -> None:
    assert small.found(Units(), small.made(small.net())) == []
    assert small.found(Units(), small.made(small.net(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 3)))) == []


def test_odd_programs_are_no_matter() -> None:
    for name, evidence in small.odd().items():
        assert isinstance(list(Units()(evidence)), list), name
