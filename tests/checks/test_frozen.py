"""Parameters that are frozen, unknown to the optimiser, or not the model's.

Mutation that turns this red: in frozen.py, `bad = nothing or bool(stuck)` → `bad = nothing`.
"""

from __future__ import annotations

import torch
from torch import nn

from convscope.checks.frozen import Frozen
from tests.checks import small


def test_a_head_that_the_optimiser_does_not_own() -> None:
    model = small.net()
    program = small.made(model, torch.optim.Adam(model[0].parameters(), lr=0.01))
    (one,) = small.found(Frozen(), program)
    assert (one.fault, one.strength, one.shows) == ("P6", 1.0, False)
    assert one.change is not None
    assert one.change.apply(program.twin()).optimizer.owned == set(dict(model.named_parameters()))


def test_everything_frozen_is_a_symptom_by_itself_and_thawing_mends() -> None:
    model = small.net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    model.requires_grad_(False)
    model[2].bias.requires_grad_(True)
    program = small.made(model, optimizer)
    (one,) = small.found(Frozen(), program)
    assert one.strength == 1.0
    assert one.evidence["frozen"] == 3
    control, changed = small.shares(program, one.change)
    assert changed > control + 0.1


def test_a_head_that_was_replaced_later() -> None:
    model = small.net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    model[2] = nn.Linear(32, 3)
    (one,) = small.found(Frozen(), small.made(model, optimizer))
    assert one.strength == 1.0
    assert one.evidence["foreign parameters in the optimiser"] == 2


def test_a_frozen_backbone_is_a_hint_and_a_whole_training_nothing() -> None:
    model = small.net()
    model[0].requires_grad_(False)
    (one,) = small.found(Frozen(), small.made(model, torch.optim.Adam(model[2].parameters(), lr=0.01)))
    assert one.strength == 0.3
    assert one.harmless
    assert small.found(Frozen(), small.made(small.net())) == []


def test_odd_programs_are_no_matter() -> None:
    for name, evidence in small.odd().items():
        assert isinstance(list(Frozen()(evidence)), list), name
