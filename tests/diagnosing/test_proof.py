"""A remedy that mends is confirmed, one that does nothing is not; the interval is Student's.

Mutation that turns this red: in proof.py, `effect - half > 0` → `effect + half > 0`, or `gain = b - a` → `a - b`.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from convscope.diagnosing import changes, proof
from convscope.diagnosing.suspicion import Change
from tests.checks import small
from tests.traces import unchanged


def _slow() -> nn.Module:
    return small.net(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))


def test_a_planted_fault_is_confirmed_and_the_interval_is_students() -> None:
    model = _slow()
    program = small.made(model, "sgd:1e-6")
    with unchanged(model, program.examples.x):
        found = proof.prove(program, changes.optimizing("a higher rate", 3e5), seeds=3, steps=120, seconds=20)
    assert found.confirmed
    assert found.steps == 120
    gain = np.array([r.share - c.share for r, c in zip(found.remedied, found.control, strict=True)])
    assert gain.mean() == pytest.approx(found.effect)
    low, high = stats.t.interval(0.95, 2, gain.mean(), stats.sem(gain))
    assert (found.low, found.high) == (pytest.approx(low, rel=1e-3), pytest.approx(high, rel=1e-3))
    assert found.curves["control"].shape == found.curves["remedy"].shape == (3, 120)
    assert (found.curves["control"][:, 0] == found.curves["remedy"][:, 0]).all()  # the same begin and the same first batch
    assert "a higher rate: accuracy" in found.words
    assert "over 3 seeds, 120 steps each" in found.words


def test_a_placebo_is_not_confirmed() -> None:
    program = small.made(_slow(), "adam:0.01")
    found = proof.prove(program, Change("nothing", lambda p: p), seeds=2, steps=60, seconds=20)
    assert not found.confirmed
    assert found.effect == 0.0
    assert (found.curves["control"] == found.curves["remedy"]).all()
    assert "nothing: accuracy" in found.words


def test_a_remedy_that_breaks_is_not_confirmed() -> None:
    found = proof.prove(small.made(_slow(), "sgd:1e-6"), changes.optimizing("wild", 1e12), seeds=2, steps=40, seconds=20)
    assert not found.confirmed


def test_one_seed_has_no_interval() -> None:
    found = proof.prove(small.made(_slow(), "sgd:1e-6"), changes.optimizing("faster", 3e5), seeds=1, steps=60, seconds=20)
    assert not found.confirmed
    assert (found.low, found.high) == (-math.inf, math.inf)
    assert "no interval" in found.words


def test_progress_may_stop_it_and_nothing_is_left() -> None:
    def stop(done: int, total: int, text: str) -> None:
        raise KeyboardInterrupt

    model = _slow()
    program = small.made(model)
    with unchanged(model), pytest.raises(KeyboardInterrupt):
        proof.prove(program, Change("nothing", lambda p: p), 2, 5, 1.0, (), stop)
    assert torch.is_grad_enabled()


def test_given_controls_are_used() -> None:
    program = small.made(_slow(), "adam:0.01")
    controls = proof.control(program, 2, 30, 20)
    assert [len(t.losses) for t, _ in controls] == [30, 30]
    found = proof.prove(program, Change("nothing", lambda p: p), 2, 500, 20, controls)
    assert found.steps == 30
