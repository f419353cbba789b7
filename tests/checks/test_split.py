"""Held-out examples prepared in another way, or copied from the training set.

Mutation that turns this red: in split.py, `share = sum(p in known for p in theirs)` → `sum(p not in known for p in theirs)`.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from convscope.checks.split import Split
from convscope.diagnosing.evidence import Evidence
from tests.checks import small
from tests.checks.blobs import blobs

X, Y = blobs()
HELD, LABELS = blobs(150, seed=1)


def test_copies_are_counted_and_dropped() -> None:
    held = torch.cat([X[:60], HELD[:40]])
    program = small.made(small.net(), data=(X, Y), held_out=(held, torch.cat([Y[:60], LABELS[:40]])), epochs=3)
    (one,) = small.found(Split(), program)
    assert (one.fault, one.strength, one.shows) == ("D13", 1.0, True)
    assert one.evidence["held-out examples in training, share"] == pytest.approx(0.6)
    assert one.change is not None
    mended = one.change.apply(program.twin())
    assert mended.held_out is not None
    assert torch.equal(mended.held_out.x, HELD[:40])


def test_inputs_that_repeat_by_nature_are_no_copies() -> None:
    x = torch.randint(0, 2, (300, 4), generator=torch.Generator().manual_seed(0)).float()
    y = x.sum(1).long() % 2
    model = small.net(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    assert small.found(Split(), small.made(model, data=(x[:200], y[:200]), held_out=(x[200:], y[200:]), epochs=2)) == []


@pytest.mark.parametrize(("factor", "shift"), [(20.0, 0.0), (1.0, 8.0), (0.02, -1.0)])
def test_another_preparation_is_d11_and_the_training_sets_statistics_mend(factor: float, shift: float) -> None:
    x, y = small.rings()
    fresh, labels = small.rings(150, 1)
    program = small.made(small.net(), data=(x, y), held_out=(fresh * factor + shift, labels), epochs=40)
    (one,) = small.found(Split(), program)
    assert (one.fault, one.strength, one.shows) == ("D11", 1.0, True)
    assert one.change is not None
    held = one.change.apply(program.twin()).held_out
    assert held is not None
    assert float((held.x - fresh).abs().max()) < 1.0  # the training's statistics are nearly those of the held-out set
    evidence = Evidence(program)
    trained = evidence.trial.program
    assert trained is not None
    judged = [evidence.judge(replace(trained, examples=part)).value for part in (program.held_out, held)]
    assert judged[1] > judged[0] + 0.1


def test_pixels_standardised_one_by_one() -> None:
    generator = torch.Generator().manual_seed(0)
    level = torch.rand(1, 1, 4, 4, generator=generator) * 200 + 20
    y = torch.randint(0, 3, (400,), generator=generator)
    marks = torch.randn(3, 1, 4, 4, generator=generator)
    x = level * (1 + 0.05 * marks[y] + 0.03 * torch.randn(400, 1, 4, 4, generator=generator))
    train = (x[:300] - x[:300].mean(0)) / x[:300].std(0)
    model = small.net(nn.Flatten(), nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 3))
    (one,) = small.found(Split(), small.made(model, data=(train, y[:300]), held_out=(x[300:], y[300:]), epochs=20))
    assert (one.fault, one.strength) == ("D11", 1.0), one.evidence
    assert float(one.evidence["the same, with training's statistics"]) > 0.9


def test_a_network_that_does_not_mind_gets_a_hint() -> None:
    normed = small.net(nn.LayerNorm(8), nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))
    (one,) = small.found(Split(), small.made(normed, data=(X, Y), held_out=(HELD * 20, LABELS), epochs=20))
    assert one.harmless
    assert one.strength == 0.3


def test_an_even_split_is_left_alone_and_odd_programs_are_no_matter() -> None:
    assert small.found(Split(), small.made(small.net(), data=(X, Y), held_out=(HELD, LABELS), epochs=3)) == []
    assert small.found(Split(), small.made(small.net(), data=(X, Y), held_out=(HELD[:1], LABELS[:1]), epochs=3)) == []
    gaps = X.clone()
    gaps[:, 0] = torch.nan
    assert small.found(Split(), small.made(small.net(), data=(gaps, Y), held_out=(HELD, LABELS), epochs=3)) == []
    for name, evidence in small.odd().items():
        assert [s.fault for s in Split()(evidence)] == [], name
