"""eps, betas, momentum and alpha outside of what is usual.

Mutation that turns this red: in hyper.py, `if eps < self.least:` → `if eps > self.least:`.
"""

from __future__ import annotations

import pytest
import torch

from convscope.checks.hyper import Hyper
from tests.checks import small


@pytest.mark.parametrize(
    ("kind", "options", "name"),
    [
        ("Adam", {"eps": 1e-16}, "eps"),
        ("Adam", {"eps": 10.0}, "eps"),
        ("Adam", {"betas": (0.999, 0.9)}, "betas"),
        ("SGD", {"lr": 0.01, "momentum": 0.9999}, "momentum"),
        ("RMSprop", {"alpha": 0.01}, "alpha"),
    ],
)
def test_odd_settings_are_named(kind: str, options: dict[str, object], name: str) -> None:
    model = small.net()
    program = small.made(model, getattr(torch.optim, kind)(model.parameters(), **options), epochs=1)
    (one,) = small.found(Hyper(), program)
    assert one.fault == "P10"
    assert name in one.evidence
    assert one.change is not None
    assert one.change.apply(program.twin()).optimizer.option(name) != options[name]


def test_a_large_eps_freezes_and_the_usual_mends() -> None:
    model = small.net()
    program = small.made(model, torch.optim.Adam(model.parameters(), lr=0.01, eps=10.0))
    (one,) = small.found(Hyper(), program, 0.5)
    control, changed = small.shares(program, one.change)
    assert changed > control + 0.2


@pytest.mark.parametrize(
    ("kind", "options"),
    [("Adam", {}), ("AdamW", {"betas": (0.5, 0.999)}), ("SGD", {"lr": 0.1, "momentum": 0.99}), ("RMSprop", {"eps": 1e-7})],
)
def test_usual_settings_are_left_alone(kind: str, options: dict[str, object]) -> None:
    model = small.net()
    assert small.found(Hyper(), small.made(model, getattr(torch.optim, kind)(model.parameters(), **options), epochs=1)) == []


def test_odd_programs_are_no_matter() -> None:
    for name, evidence in small.odd().items():
        assert isinstance(list(Hyper()(evidence)), list), name
