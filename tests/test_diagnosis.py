"""The whole doctor: planted faults named first, nothing touched, failures of a check told, answers the same each time.

Mutation that turns this red: in diagnosis.py, leave out `found += said` · `except Exception as` → `except KeyError as`.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import convscope as cs
from convscope import registry
from convscope.diagnosing import changes
from convscope.diagnosing.suspicion import Suspicion
from convscope.diagnosis import _chains
from tests.checks import small
from tests.traces import unchanged
from tests.watching.loops import Loop


def _single() -> nn.Module:
    return small.net(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1), nn.Softmax(1))


def test_a_planted_fault_is_first_and_proved_and_nothing_is_touched() -> None:
    model, (x, y) = _single(), small.rings()
    y = (y > 0).float()[:, None]
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    with unchanged(model, x, y):
        found = cs.check(model, (x, y), nn.BCELoss(), optimizer, prove=2, seconds=2.0, epochs=20)
    first = found.findings[0]
    assert (first.fault, first.severity, first.confirmed) == ("O1", "error", True)
    assert {"O1 control", "O1 remedy"} <= set(found.curves)
    assert len(found.checked["check"]) > 25
    assert any(note.startswith("tried for ") for note in found.notes)
    assert optimizer.state_dict()["state"] == {}


def test_a_check_that_fails_is_told_and_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    load = registry.load

    class Broken:
        needs = "program"

        def __call__(self, evidence: Any) -> Any:
            raise ZeroDivisionError("by nothing")

    monkeypatch.setattr(registry, "load", lambda family, name: Broken if name == "balance" else load(family, name))
    found = cs.check(small.net(), small.rings(), "cross-entropy", "sgd:0", seconds=1.0)
    assert "the check balance failed: ZeroDivisionError: by nothing" in found.notes
    assert "balance" in found.checked["check"]


def test_progress_may_stop_it_and_nothing_is_left() -> None:
    def stop(done: int, total: int, text: str) -> None:
        if done == 5:
            raise KeyboardInterrupt

    model, data = small.net(), small.rings()
    with unchanged(model, *data), pytest.raises(KeyboardInterrupt):
        cs.check(model, data, "cross-entropy", "adam:0.01", progress=stop)


def test_a_record_alone_and_beside_its_program() -> None:
    run = Loop(order="forward backward step").watched()
    alone = cs.check(run)
    assert alone.findings[0].fault == "P4"
    assert set(alone.checked["check"]) == {n for n in registry.names("checks") if registry.load("checks", n).needs == "run"}
    healthy = Loop(steps=40, per_epoch=40).watched()
    found = cs.check(small.net(), small.rings(), "cross-entropy", "adam:0.01", epochs=25, run=healthy, seconds=2.0)
    assert not [f.fault for f in found.findings if f.severity == "error"]
    assert set(found.checked["check"]) == set(registry.names("checks"))


def test_remedies_are_tried_together() -> None:
    tried = [Suspicion(code, 0.8, "", "", "", change=changes.optimizing(code, 2.0)) for code in ("D1", "P1", "A2")]
    chains = dict(_chains(tried))
    together = [names for names in chains if len(names) != 1]
    assert together == [("D1", "P1"), ("D1", "P1", "A2")]
    assert next(iter(chains)) == ("D1",)
    assert {("P1",), ("A2",)} <= set(chains)
    program = small.made(small.net(), "sgd:0.1")
    assert chains["D1", "P1", "A2"].apply(program.twin()).optimizer.rate == pytest.approx(0.8)


def test_a_fault_of_the_loop_is_proved_by_a_right_loop() -> None:
    torch.manual_seed(0)
    model, (x, y) = small.net(), small.rings()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    with cs.watch(model, optimizer, full=True) as run:
        for _ in range(60):
            loss = torch.nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.zero_grad()
            optimizer.step()
    found = cs.check(model, (x, y), "cross-entropy", optimizer, run=run.result(), prove=2, seconds=2.0)
    first = found.findings[0]
    assert (first.fault, first.confirmed) == ("P5", True)
    assert "in a loop that clears, goes back and steps: accuracy" in first.proof
    assert found.curves["P5 remedy"].shape[0] == 2
    assert found.curves["P5 control"].shape[0] == 1
