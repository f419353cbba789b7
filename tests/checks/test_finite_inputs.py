"""NaN in rows, columns and targets; constant inputs.

Mutation that turns this red: in finite_inputs.py, `few = bad <= 0.05 * total` → `few = bad > 0.05 * total`.
"""

from __future__ import annotations

import pytest
import torch

from convscope.checks.finite_inputs import FiniteInputs
from convscope.diagnosing.trial import train
from convscope.errors import UsageError
from tests.checks import small
from tests.checks.blobs import blobs, line, slope


def test_a_few_nan_rows_are_named_and_dropping_them_mends() -> None:
    x, y = blobs()
    x[[7, 40], 2] = torch.nan
    program = small.made(small.net(), data=(x, y), epochs=20)
    (one,) = small.found(FiniteInputs(), program)
    assert (one.fault, one.strength, one.shows) == ("D10", 1.0, True)
    assert one.evidence["examples that are not finite"] == 2
    assert one.evidence["the first"] == 7
    assert one.evidence["in features"] == "2"
    assert one.change is not None
    mended = one.change.apply(program.twin())
    assert len(mended.examples) == 298
    trial = train(mended, 0, 100)
    assert trial.broke is None
    assert trial.last < 0.5 * trial.first


def test_a_column_of_gaps_is_filled_by_its_mean() -> None:
    x, y = blobs()
    gaps = torch.arange(300) % 4 == 0
    x[gaps, 1] = torch.inf
    program = small.made(small.net(), data=(x, y), held_out=(x[:50], y[:50]), epochs=20)
    (one,) = small.found(FiniteInputs(), program)
    assert one.change is not None
    mended = one.change.apply(program.twin())
    assert mended.examples.x[0, 1] == pytest.approx(float(x[~gaps, 1].mean()), abs=1e-5)
    assert torch.equal(mended.examples.x[1], x[1])
    assert mended.held_out is not None
    assert bool(torch.isfinite(mended.held_out.x).all())
    assert small.shares(mended, one.change)[1] > 0.8


def test_targets_that_are_not_finite() -> None:
    x, y = slope()
    y[3] = torch.nan
    (one,) = small.found(FiniteInputs(), small.made(line(), data=(x, y), loss="mse"))
    assert one.where == "targets"
    assert one.evidence["targets that are not finite"] == 1
    assert one.change is not None
    assert len(one.change.apply(small.made(line(), data=(x, y), loss="mse")).examples) == 299


def test_one_and_the_same_input_shows_and_a_constant_column_is_harmless() -> None:
    x, y = blobs()
    (one,) = small.found(FiniteInputs(), small.made(small.net(), data=(torch.ones_like(x), y)))
    assert one.shows
    assert one.strength == 1.0
    x[:, 5] = 3.0
    (column,) = small.found(FiniteInputs(), small.made(small.net(), data=(x, y)))
    assert column.harmless
    assert column.strength == 0.2
    assert column.evidence["constant columns"] == "5"


def test_sound_inputs_are_left_alone_and_odd_programs_are_no_matter() -> None:
    assert small.found(FiniteInputs(), small.made(small.net(), data=blobs())) == []
    for name, evidence in small.odd().items():
        faults = [s.fault for s in FiniteInputs()(evidence)]
        assert faults == (["D10"] if name == "NaN" else []), name
    with pytest.raises(UsageError, match=r"FiniteInputs.most must be in \[1"):
        FiniteInputs(most=0)
