"""Which suspicion is an alarm, and which comes first.

Mutation that turns this red: in verdict.py, `symptom.alarm and (helps` → `(helps` · `-round(r.weight, 1)` → `round(…)` ·
`if s.fault in DOWNSTREAM and relief < HELPS` → `if False`.
"""

from __future__ import annotations

import pytest

import convscope as cs
from convscope.diagnosing import changes, verdict
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.suspicion import EXACT, HINT, LIKELY, STRONG, Change, Suspicion
from convscope.diagnosing.symptom import Symptom
from tests.checks import small

ALARM, FINE = Symptom("flat", "it does not learn"), Symptom("", "it learns")


def _said(fault: str, strength: float, **more: object) -> Suspicion:
    return Suspicion(fault, strength, "seen", "why", "what to do", {"number": 1.0}, disproof="else", **more)  # type: ignore[arg-type]


def _codes(found: list[Suspicion], symptom: Symptom, evidence: Evidence | None = None) -> list[tuple[str, str]]:
    evidence = evidence or Evidence(None)  # type: ignore[arg-type]
    told = verdict.findings(verdict.rank(found, evidence, symptom), symptom)
    return [(f.severity, f.fault) for f in told]


def test_without_a_symptom_nothing_is_an_alarm() -> None:
    found = [_said("P1", EXACT), _said("D1", STRONG), _said("A2", HINT)]
    assert _codes(found, FINE) == [("advice", "P1"), ("advice", "D1"), ("advice", "A2"), ("fine", "")]


def test_with_a_symptom_what_is_likely_is_one() -> None:
    found = [_said("A2", HINT), _said("P1", LIKELY), _said("D1", EXACT), _said("P8", STRONG, harmless=True)]
    assert _codes(found, ALARM) == [("error", "D1"), ("error", "P1"), ("advice", "P8"), ("advice", "A2")]


def test_evidence_that_shows_is_an_alarm_by_itself() -> None:
    assert _codes([_said("O1", EXACT, shows=True)], FINE)[0] == ("error", "O1")


def test_the_cause_upstream_comes_first_where_all_else_is_equal() -> None:
    assert [c for _, c in _codes([_said("A2", STRONG), _said("D1", STRONG), _said("P1", STRONG)], ALARM)] == [
        "D1",
        "P1",
        "A2",
    ]


def test_one_fault_is_said_once_by_its_strongest_sign() -> None:
    ranked = verdict.rank([_said("P1", HINT), _said("P1", EXACT)], Evidence(None), ALARM)  # type: ignore[arg-type]
    assert [r.suspicion.strength for r in ranked] == [EXACT]


def test_a_symptom_without_a_cause_is_told() -> None:
    assert _codes([], ALARM) == [("unknown", "")]
    assert _codes([], FINE) == [("fine", "")]
    assert _codes([], Symptom("unsure", "too few steps")) == [("unknown", "")]


def test_a_remedy_that_mends_beats_a_stronger_sign_that_does_not() -> None:
    program = small.made(small.net(), "sgd:1e-6", epochs=10)
    evidence = Evidence(program, seconds=6.0)
    mends = _said("P2", LIKELY, change=changes.optimizing("faster", 3e5))
    idle = _said("D1", STRONG, change=Change("nothing", lambda p: p))
    ranked = verdict.rank([idle, mends], evidence, ALARM)
    assert [r.suspicion.fault for r in ranked] == ["P2", "D1"]
    assert ranked[0].relief > 0.4
    assert ranked[1].relief == pytest.approx(0.0, abs=0.05)
    told = verdict.findings(ranked, ALARM)[0]
    assert told.evidence["gain of a short try"] == round(ranked[0].relief, 3)
    assert told.symptom == "it does not learn: seen"


def test_a_remedy_that_cannot_be_applied_is_told() -> None:
    def fails(program: object) -> object:
        raise ValueError("no such layer")

    evidence = Evidence(small.made(small.net(), "sgd:1e-6", epochs=2), seconds=3.0)
    (one,) = verdict.rank([_said("P1", STRONG, change=Change("odd", fails))], evidence, ALARM)  # type: ignore[arg-type]
    assert one.relief != one.relief
    assert evidence.notes == ["the remedy of P1 could not be tried: ValueError: no such layer"]


def test_a_healthy_program_is_left_in_peace() -> None:
    x, y = small.rings()
    found = cs.check(small.net(), (x, y), "cross-entropy", "adam:0.01", epochs=25, seconds=3.0)
    assert not [f for f in found.findings if f.severity == "error"]


def test_what_layers_suffer_weighs_little_until_its_own_remedy_helps() -> None:
    dead, rate = _said("A2", EXACT), _said("P1", STRONG)
    weights = [verdict.Ranked(dead).weight, verdict.Ranked(rate).weight, verdict.Ranked(dead, verdict.HELPS).weight]
    assert weights == [LIKELY, STRONG, EXACT + 0.5 * verdict.HELPS]


def test_of_two_remedies_that_both_help_a_larger_gain_says_no_more() -> None:
    sum_, rate = _said("O9", STRONG), _said("P1", STRONG)
    assert verdict.Ranked(sum_, 0.34).weight == verdict.Ranked(rate, 0.95).weight
    assert verdict.Ranked(sum_, 0.1).weight < verdict.Ranked(rate, 0.34).weight


def test_one_remedy_that_mends_makes_idle_others_advice() -> None:
    ranked = [verdict.Ranked(_said("D1", STRONG), 0.9), verdict.Ranked(_said("O5", STRONG), 0.0)]
    assert [(f.severity, f.fault) for f in verdict.findings(ranked, ALARM)] == [("error", "D1"), ("advice", "O5")]


def test_what_was_seen_in_the_users_own_loop_comes_first() -> None:
    seen, tried = verdict.Ranked(_said("E1", EXACT)), verdict.Ranked(_said("P1", STRONG), 0.9)
    assert seen.weight > tried.weight
