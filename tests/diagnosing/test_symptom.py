"""Is something wrong at all? Programs and records, each with its symptom; healthy ones with none.

Mutation that turns this red: in symptom.py, `if not watched and len(losses)` → `if len(losses)` · `share < 0.2` → `> 0.2`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.program import Program
from convscope.diagnosing.symptom import of_run, symptom
from convscope.results import Run
from tests.checks import small


def _kind(program: Program, seconds: float = 2.0) -> str:
    return symptom(Evidence(program, seconds=seconds)).kind


def _fit(optimizer: str = "adam:0.01", **words: Any) -> Program:
    return small.made(words.pop("model", small.net()), optimizer, epochs=words.pop("epochs", 25), **words)


def test_a_healthy_program_has_none() -> None:
    found = symptom(Evidence(_fit(), seconds=3.0))
    assert (found.kind, found.alarm) == ("", False)
    assert "it learns: accuracy" in found.words


def test_flat_diverged_constant_nan_and_errors() -> None:
    x, y = small.rings()
    assert _kind(_fit("sgd:1e-7")) == "flat"
    assert _kind(_fit("sgd:0")) == "constant"
    assert _kind(_fit(data=(x.clone().fill_(math.nan), y))) == "nan"
    raised = symptom(Evidence(_fit(model=small.Refuses(8, 3)), seconds=1.0))
    assert (raised.kind, raised.alarm) == ("raised", True)
    assert "ValueError: no" in raised.words
    assert _kind(_fit(loss=small._raises)) == "raised"


def test_a_network_that_is_right_in_training_mode_only() -> None:
    class Averaged(nn.BatchNorm1d):
        """Batch norm whose kept statistics are wrong: as with a momentum that never updates them."""

    torch.manual_seed(0)
    model = small.net(nn.Linear(8, 32), Averaged(32, momentum=0.0), nn.ReLU(), nn.Linear(32, 3))
    model[1].running_mean.fill_(50.0)  # type: ignore[operator, union-attr]
    assert _kind(_fit(model=model)) == "mode"


def test_a_gap_to_held_out_examples() -> None:
    x, y = small.rings(128)
    far, labels = small.rings(128, 7)
    assert _kind(_fit(epochs=40, data=(x, y), held_out=(far, (labels + 1) % 3))) == "gap"
    assert _kind(_fit(epochs=40, data=(x, y), held_out=small.rings(128, 7))) == ""


def test_too_few_steps_are_said_to_be_too_few() -> None:
    x, y = small.rings(64)
    program = small.made(small.net(), "sgd:0.001", data=(x, y), batch_size=64)
    found = symptom(Evidence(program, seconds=0.01))
    assert (found.kind in ("unsure", "flat"), found.kind == "") == (True, False)


def _run(losses: Any, loop: Any = None, **epochs: Any) -> Run:
    return Run(
        steps={"loss": np.asarray(losses, float)}, epochs={k: np.asarray(v) for k, v in epochs.items()}, loop=loop or {}
    )


@pytest.mark.parametrize(
    ("run", "kind"),
    [
        (_run(np.geomspace(2, 0.1, 50)), ""),
        (_run(np.full(50, 2.3)), "flat"),
        (_run(np.geomspace(1, 50, 50)), "diverged"),
        (_run([2.0, 1.5, math.nan]), "nan"),
        (_run([2.0] * 9, {"loss_nonfinite_step": 4}), "nan"),
        (_run(np.geomspace(2, 0.1, 50), accuracy=[0.5, 0.99], held_out_accuracy=[0.3, 0.2]), "gap"),
        (_run(np.where(np.arange(60) % 3, math.nan, np.geomspace(2, 0.1, 60)), {"loss_nonfinite_step": None}), ""),
    ],
)
def test_records(run: Run, kind: str) -> None:
    found = of_run(run)
    assert found is not None
    assert found.kind == kind
    assert symptom(Evidence(None, run)).kind == kind  # type: ignore[arg-type]


@pytest.mark.parametrize("run", [_run([]), _run([2.0]), _run([math.nan] * 30, {"loss_nonfinite_step": None})])
def test_records_that_say_too_little(run: Run) -> None:
    """NaN at every step of a watched run: its losses were never looked at."""
    assert of_run(run) is None
    assert symptom(Evidence(None, run)).kind == "unsure"  # type: ignore[arg-type]


def test_a_run_that_learned_outweighs_a_trial_that_was_short() -> None:
    flat = _fit("sgd:1e-7")
    assert symptom(Evidence(flat, _run(np.geomspace(2, 0.1, 50)), 2.0)).kind == ""
    assert symptom(Evidence(flat, _run(np.full(50, 2.3)), 2.0)).kind == "flat"
