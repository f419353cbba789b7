"""Rare classes.

Mutation that turns this red: in balance.py, `lags = few < self.lag * many` → `lags = few > self.lag * many`.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from convscope.checks.balance import Balance, balanced
from convscope.diagnosing.program import Program
from convscope.diagnosing.trial import train
from tests.checks import small
from tests.checks.blobs import blobs


def _rare(spread: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Two corners, of the second one example in forty."""
    x, y = blobs(1200, 2, spread=spread)
    keep = (y == 0) | (torch.arange(1200) % 40 == 0)
    return x[keep], y[keep]


def _recall(program: Program) -> float:
    e = program.examples
    said = program.model.eval()(e.x).argmax(1)
    return float((said[e.y == 1] == 1).float().mean())  # type: ignore[index]


def test_a_rare_class_that_is_passed_over_is_d8_and_weights_mend() -> None:
    program = small.made(small.net(), "sgd:0.02", _rare(3.0), epochs=3)
    (one,) = small.found(Balance(), program)
    assert (one.fault, one.strength, one.harmless) == ("D8", 0.8, False)
    assert float(one.evidence["largest over smallest class"]) > 20
    assert float(one.evidence["recall of rare classes"]) < 0.5 * float(one.evidence["recall of the others"])
    assert one.change is not None
    control, changed = program.twin(), one.change.apply(program.twin())
    for twin in (control, changed):
        train(twin, 0, 100, 5.0)
    assert _recall(changed) > _recall(control) + 0.3


def test_a_rare_class_that_is_learned_is_harmless() -> None:
    (one,) = small.found(Balance(), small.made(small.net(), data=_rare(0.4), epochs=20), 2.0)
    assert one.harmless
    assert one.strength == 0.3
    assert "copes" in one.symptom


@pytest.mark.parametrize("hot", [False, True])
def test_the_balanced_loss_is_that_of_class_weights(hot: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    o, y = torch.randn(20, 3, generator=generator), torch.tensor([0] * 14 + [1] * 4 + [2] * 2)
    weights = 1 / torch.bincount(y)
    expected = F.cross_entropy(o, y, weight=weights)  # torch divides by the sum of the weights: N/N per class
    target = F.one_hot(y, 3).float() if hot else y
    assert float(balanced(F.cross_entropy)(o, target)) == pytest.approx(float(expected), rel=1e-5)


def test_even_classes_are_left_alone_and_odd_programs_are_no_matter() -> None:
    assert small.found(Balance(), small.made(small.net(), data=blobs(), epochs=5)) == []
    for name, evidence in small.odd().items():
        assert [s.fault for s in Balance()(evidence)] == [], name
