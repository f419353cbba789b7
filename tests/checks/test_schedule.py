"""Schedules that leave no rate to learn with.

Mutation that turns this red: in schedule.py, `rates < self.killed * rates.max()` → `rates > self.killed * rates.max()`.
"""

from __future__ import annotations

import types
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim import lr_scheduler

from convscope.checks.schedule import Schedule
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.program import Program
from tests.checks import small


def _program(make: Any, epochs: int = 20) -> Program:
    model = small.net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    return small.made(model, optimizer, scheduler=make(optimizer), epochs=epochs)


def test_a_schedule_that_dies_is_found_and_a_constant_rate_mends() -> None:
    program = _program(lambda o: lr_scheduler.ExponentialLR(o, 0.05))
    (one,) = small.found(Schedule(), program)
    assert (one.fault, one.strength) == ("P9", 1.0)
    control, changed = small.shares(program, one.change, 160)
    assert changed > control


def test_a_watched_run_speaks_by_step() -> None:
    program = small.made(nn.Linear(8, 3), epochs=1)
    run = types.SimpleNamespace(steps={"rate": 0.1 * 0.8 ** np.arange(200)})
    (one,) = Schedule()(Evidence(program, run=run))  # type: ignore[arg-type]
    assert one.fault == "P9"
    assert "step 32 of 200" in one.cause


def test_gentle_schedules_are_left_alone() -> None:
    gentle = (
        lambda o: lr_scheduler.CosineAnnealingLR(o, 20),
        lambda o: lr_scheduler.StepLR(o, 7, 0.1),
        lambda o: lr_scheduler.LinearLR(o, 1e-4, 1.0, 5),
        lambda o: lr_scheduler.OneCycleLR(o, 0.3, 30),
    )
    for make in gentle:
        assert small.found(Schedule(), _program(make)) == []
    assert small.found(Schedule(), small.made(small.net())) == []


def test_odd_programs_are_no_matter() -> None:
    for name, evidence in small.odd().items():
        assert isinstance(list(Schedule()(evidence)), list), name
