"""What every check in `checks/` keeps, on programs that are odd: nothing raised, nothing touched, and what is said is whole.

Turns red: a check that reads `evidence.tensor.shape` without asking whether there is a tensor (`two_outputs`) · in
`program.py`, a `twin` that gives `self` (the user's own weights are trained) · a suspicion without disproof.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import os
import time
import typing

import pytest

from convscope import fields, registry
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.faults import FAULTS
from convscope.diagnosing.program import Program, left_alone
from convscope.diagnosing.suspicion import Suspicion
from convscope.diagnosing.trial import train
from tests.contracts.leaves import same
from tests.contracts.odd_programs import PROGRAMS, RUNS, Asked
from tests.traces import unchanged

LEAVES = registry.names("checks")
each_leaf = pytest.mark.parametrize("leaf", LEAVES)
SECONDS = 1.0  # of processor time, beside the measurements that all checks share
OF_PROGRAMS = tuple(leaf for leaf in LEAVES if registry.load("checks", leaf).needs == "program")
OF_RUNS = tuple(leaf for leaf in LEAVES if leaf not in OF_PROGRAMS)


@each_leaf
def test_a_check_says_what_it_asks(leaf: str) -> None:
    kind = registry.load("checks", leaf)
    read = registry.describe("checks", leaf)
    assert read.parameters == fields.describe(kind)
    assert read.question.endswith("?")
    assert [part for part in ("Misleads", "Source", ">>> ") if part.lower() not in kind.__doc__.lower()] == []
    assert dataclasses.is_dataclass(kind)
    assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert all(p.help for p in read.parameters)
    assert kind.needs in ("program", "run")
    assert typing.get_origin(typing.get_type_hints(kind)["needs"]) is typing.ClassVar


def test_there_are_checks_of_both_kinds() -> None:
    assert len(OF_PROGRAMS) > 25
    assert len(OF_RUNS) > 8


def _measured(evidence: Evidence) -> None:
    """What the checks share, so that a check is timed by itself."""
    for name in ("first", "loss", "start", "gradients", "signals", "trial", "before", "after", "tiny", "targets"):
        getattr(evidence, name)


def _whole(leaf: str, s: Suspicion) -> list[str]:
    """What is missing from a suspicion."""
    wrong = [part for part in ("symptom", "cause", "remedy", "evidence", "disproof") if not getattr(s, part)]
    wrong += [] if s.fault in FAULTS else [f"fault {s.fault}"]
    wrong += [] if 0 < s.strength <= 1 and not math.isnan(s.strength) else [f"strength {s.strength}"]
    wrong += [f"code {line!r}" for line in s.code.splitlines() if line and line[0] not in "-+ "]
    wrong += [f"evidence {k}: {type(v).__name__}" for k, v in s.evidence.items() if not isinstance(v, (int, float, str))]
    return [f"{leaf} {s.fault}: {w}" for w in wrong]


def _runs(leaf: str, s: Suspicion, program: Program, seed: int) -> list[str]:
    """What goes wrong where the remedy is tried."""
    if s.change is None:
        return []
    with left_alone():
        changed = s.change.apply(program.twin())
        trial = train(changed, seed, 3, 5.0)
    kept = train(program.twin(), seed, 3, 5.0).problem  # a remedy of one fault need not mend a program that raises anyway
    return [f"{leaf} {s.fault}: {s.change.name}: {trial.problem}"] if trial.problem and trial.problem != kept else []


def _asked(leaf: str, evidence: Evidence) -> tuple[list[Suspicion], list[str]]:
    begun = time.process_time()
    try:
        said = list(registry.load("checks", leaf)()(evidence))
    except Exception as problem:  # noqa: BLE001 - told with the name of the check
        return [], [f"{leaf} raised {type(problem).__name__}: {problem}"]
    took = time.process_time() - begun
    return said, [f"{leaf} took {took:.2f} s"] * (took > SECONDS)


@pytest.mark.parametrize("name", PROGRAMS)
def test_no_check_stumbles(name: str) -> None:
    if name == "keras_model":
        _keras()
    asked: Asked = PROGRAMS[name]()
    program = asked.program
    state, wrong = asked.state(), list[str]()
    evidence = Evidence(program, seconds=0.5)
    with unchanged(asked.module, *asked.tensors):
        _measured(evidence)
        for leaf in OF_PROGRAMS:
            said, bad = _asked(leaf, evidence)
            wrong += bad
            for s in said:
                wrong += _whole(leaf, s) + _runs(leaf, s, program, 0)
    assert same(_plain(state), _plain(asked.state()))
    assert not wrong, "\n".join(wrong)


def _keras() -> None:
    """Keras 3 on torch, or this test is skipped."""
    if os.environ.setdefault("KERAS_BACKEND", "torch") != "torch":
        pytest.skip("Keras runs on another backend here")
    pytest.importorskip("keras")


def _plain(state: object) -> str:
    return repr(state)


@pytest.mark.parametrize("name", RUNS)
def test_no_check_of_a_run_stumbles(name: str) -> None:
    evidence = Evidence(None, RUNS[name])  # type: ignore[arg-type]
    wrong: list[str] = []
    for leaf in OF_RUNS:
        said, bad = _asked(leaf, evidence)
        wrong += bad
        for s in said:
            wrong += _whole(leaf, s)
    assert not wrong, "\n".join(wrong)


@functools.cache
def _planted() -> tuple[Suspicion, ...]:
    """What the checks say of a program with a fault that is easily seen."""
    evidence = Evidence(PROGRAMS["keras_model"]().program, seconds=0.5)
    return tuple(s for leaf in OF_PROGRAMS for s in registry.load("checks", leaf)()(evidence))


def test_the_suite_is_not_empty() -> None:
    """On the softmax over one unit at least, something is said, with a remedy that runs."""
    _keras()
    assert any(s.fault == "O1" and s.change is not None for s in _planted())
