"""Units that begin alike stay alike; the last layer may begin at zero.

Mutation that turns this red: in symmetry.py, `if apart <= self.slack` → `if apart > self.slack`.
"""

from __future__ import annotations

from torch import nn

from convscope.checks.symmetry import Symmetry
from tests.checks import small


def _constant(model: nn.Module, value: float) -> nn.Module:
    for p in model.parameters():
        nn.init.constant_(p, value)
    return model


def test_constant_weights_are_found_and_drawn_anew() -> None:
    program = small.made(_constant(small.net(), 0.01))
    (one,) = small.found(Symmetry(), program)
    assert (one.fault, one.strength, one.shows) == ("A7", 1.0, True)
    control, changed = small.shares(program, one.change)
    assert changed > control + 0.3


def test_dropout_does_not_hide_it() -> None:
    model = small.net(nn.Linear(8, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 3))
    assert [s.fault for s in small.found(Symmetry(), small.made(_constant(model, 0.02)))] == ["A7"]


def test_a_last_layer_of_zeros_is_sound() -> None:
    model = small.net()
    nn.init.zeros_(model.get_parameter("2.weight"))
    assert small.found(Symmetry(), small.made(model)) == []
    assert small.found(Symmetry(), small.made(small.net())) == []
    assert small.found(Symmetry(), small.made(_constant(nn.Linear(8, 3), 0.0))) == []


def test_odd_programs_are_no_matter() -> None:
    for name, evidence in small.odd().items():
        assert isinstance(list(Symmetry()(evidence)), list), name
