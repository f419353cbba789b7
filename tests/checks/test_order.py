"""Sorted batches, and classes that are held out whole.

Mutation that turns this red: in order.py, `if not (z < -self.far and share < self.mixed):` → `if not (z > -self.far and …`.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

from convscope.checks.order import Order, batch_entropy, runs_test
from tests.checks import small
from tests.checks.blobs import blobs, line, slope


def _sorted() -> tuple[torch.Tensor, torch.Tensor]:
    x, y = blobs(spread=1.5)
    order = y.argsort(stable=True)
    return x[order], y[order]


def test_sorted_batches_are_d9_and_shuffling_mends() -> None:
    x, y = small.rings()
    order = y.argsort(stable=True)
    program = small.made(small.net(), "adam:0.02", (x[order], y[order]), shuffle=False, epochs=10)
    (one,) = small.found(Order(), program)
    assert one.fault == "D9"
    assert one.strength >= 0.6
    assert float(one.evidence["runs"]) == 3
    control, changed = small.shares(program, one.change, 80)
    assert changed > control + 0.2


def test_single_examples_in_order_are_sorted_too() -> None:
    (one,) = small.found(Order(), small.made(small.net(), data=_sorted(), shuffle=False, batch_size=1, epochs=1))
    assert one.fault == "D9"


def test_the_end_of_sorted_data_held_out_is_exact_and_a_new_split_mends() -> None:
    x, y = _sorted()
    cut = int((y < 2).sum())
    program = small.made(small.net(), data=(x[:cut], y[:cut]), held_out=(x[cut:], y[cut:]), epochs=10)
    (one,) = small.found(Order(), program)
    assert (one.fault, one.strength, one.shows) == ("D9", 1.0, True)
    assert one.change is not None
    mended = one.change.apply(program.twin())
    assert len(mended.examples) == cut
    assert mended.held_out is not None
    assert set(mended.held_out.y.tolist()) == set(mended.examples.y.tolist()) == {0, 1, 2}  # type: ignore[union-attr]
    rows = torch.cat([mended.examples.x, mended.held_out.x])
    assert torch.equal(rows.sum(1).sort().values, x.sum(1).sort().values)


def test_sorted_targets_of_a_regression() -> None:
    x, y = slope()
    order = y[:, 0].argsort()
    program = small.made(line(), "sgd:0.1", (x[order], y[order]), loss="mse", shuffle=False, epochs=2)
    (one,) = small.found(Order(), program)
    assert one.fault == "D9"
    assert float(one.evidence["variance within a batch, share"]) < 0.5


@drawn(n=st.integers(5, 60), k=st.integers(2, 4), seed=st.integers(0, 999))
@settings(max_examples=30, deadline=None)
def test_expected_runs_against_permutations(n: int, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, k, n)
    _, runs, expected = runs_test(kinds)
    assert runs == 1 + sum(int(a != b) for a, b in itertools.pairwise(kinds))
    found = [runs_test(rng.permutation(kinds))[1] for _ in range(300)]
    assert expected == pytest.approx(np.mean(found), abs=5 * np.std(found) / np.sqrt(300) + 1e-9)


def test_the_spread_of_runs_against_permutations() -> None:
    rng = np.random.default_rng(0)
    kinds = rng.integers(0, 3, 200)
    z = [runs_test(rng.permutation(kinds))[0] for _ in range(500)]
    assert np.mean(z) == pytest.approx(0, abs=0.2)
    assert np.std(z) == pytest.approx(1, abs=0.12)
    assert runs_test(np.zeros(9, np.int64)) == (0.0, 1, 1.0)


def test_a_batch_of_one_class_has_no_entropy() -> None:
    assert batch_entropy(np.repeat([0, 1], 32), 16) == 0.0
    assert batch_entropy(np.tile([0, 1], 32), 16) == pytest.approx(1, abs=0.1)


def test_what_is_mixed_is_left_alone_and_odd_programs_are_no_matter() -> None:
    x, y = blobs()
    assert small.found(Order(), small.made(small.net(), data=(x, y), shuffle=False, epochs=2)) == []
    assert small.found(Order(), small.made(small.net(), data=_sorted(), epochs=2)) == []
    assert small.found(Order(), small.made(small.net(), data=_sorted(), shuffle=False, batch_size=300, epochs=2)) == []
    assert small.found(Order(), small.made(line(), data=slope(), loss="mse", shuffle=False, epochs=2)) == []
    for name, evidence in small.odd().items():
        assert [s.fault for s in Order()(evidence)] == [], name
