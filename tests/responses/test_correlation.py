"""Correlations against loops and NumPy, counts of eigenvalues with known answers, planted twins, and the chance level.

Turns red: in `responses/_redundancy.py`, `p * np.log(p)` -> `p * np.log2(p)`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from convscope.errors import DataError, UnknownName, UsageError
from convscope.responses import _redundancy as red
from convscope.responses.correlation import Correlation
from convscope.results import Picture
from tests.contracts.leaves import check_stored_and_drawn
from tests.contracts.studies import studied


def of(rows: Any, monkeypatch: pytest.MonkeyPatch, **parameters: Any) -> Any:
    _, study, _ = studied("plain")
    monkeypatch.setattr(type(study.record), "embeddings", lambda self, layer: np.asarray(rows, np.float32))
    return Correlation(**parameters)(study, "conv1")


def slow(x: list[float], y: list[float]) -> float:
    """Pearson's r, number by number."""
    mx, my = sum(x) / len(x), sum(y) / len(y)
    xy = xx = yy = 0.0
    for a, b in zip(x, y, strict=True):
        xy, xx, yy = xy + (a - mx) * (b - my), xx + (a - mx) ** 2, yy + (b - my) ** 2
    return xy / math.sqrt(xx * yy)


def summary(table: Any) -> dict[str, float]:
    return dict(zip(table.columns["measure"].tolist(), table.columns["value"].tolist(), strict=True))


def test_pairs_are_those_of_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(0).normal(size=(16, 7)).astype(np.float32)
    found = of(rows, monkeypatch, k=5)
    every = sorted((slow(rows[:, a].tolist(), rows[:, b].tolist()), a, b) for a in range(7) for b in range(a))
    wanted = [p for p in every[::-1] if p[0] > 0][:5] + [p for p in every if p[0] < 0][:5]
    np.testing.assert_allclose(found.columns["correlation"], [r for r, _, _ in wanted], atol=1e-9)
    got = zip(found.columns["unit"].tolist(), found.columns["other"].tolist(), strict=True)
    assert [set(p) for p in got] == [{a, b} for _, a, b in wanted]
    np.testing.assert_allclose(found.columns["r2"], found.columns["correlation"] ** 2)
    np.testing.assert_allclose(red.correlations(red.standardised(rows.astype(float))[0]), np.corrcoef(rows.T), atol=1e-9)


def test_planted_twins_and_opposites(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 200))
    rows = np.c_[a, 3 * a + 7, -0.5 * a, b, np.full(200, 4.25), b + 0.1 * rng.normal(size=200)]
    _, study, _ = studied("plain")
    monkeypatch.setattr(type(study.record), "embeddings", lambda self, layer: rows.astype(np.float32))
    found = Correlation(k=2)(study, "conv1")
    pairs = list(zip(*(found.columns[c].tolist() for c in ("unit", "other")), strict=True))
    assert pairs == [(0, 1), (3, 5), (0, 2), (1, 2)] or pairs == [(0, 1), (3, 5), (1, 2), (0, 2)]
    np.testing.assert_allclose(found.columns["correlation"][[0, 2, 3]], [1, -1, -1], atol=1e-6)
    assert found.columns["beyond_chance"].all()
    assert found.notes[:2] == ("over 200 images, each by the mean of every unit's map",
                               "left out: 1 of 6 units, which do not vary")
    assert "5 of 5 units are told by another one (R² > 0.95)" in found.notes[-1]
    units = Correlation(view="units")(study, "conv1").columns
    assert units["unit"].tolist() == [0, 1, 2, 3, 5]
    assert units["other"].tolist()[3:] == [5, 3]
    assert set(units["other"].tolist()[:3]) <= {0, 1, 2}
    assert units["told"].all()
    matrix = Correlation(view="matrix")(study, "conv1")
    assert isinstance(matrix, Picture)
    order = matrix.values["unit"][0].tolist()
    assert sorted(order) == [0, 1, 2, 3, 5]
    assert abs(order.index(0) - order.index(1)) == 1
    assert abs(order.index(3) - order.index(5)) == 1
    at = order.index(0), order.index(2)
    np.testing.assert_allclose(matrix.tiles[0][at], -1, atol=1e-6)
    assert (np.diag(matrix.tiles[0]) == 1).all()


def test_counts_of_eigenvalues_with_known_answers() -> None:
    for m in (1, 3, 8):
        values = np.r_[np.full(m, 2.5), np.zeros(4)]
        assert math.isclose(red.effective_rank(values), m, rel_tol=1e-12)
        assert math.isclose(red.participation_ratio(values), m, rel_tol=1e-12)
    assert red.effective_rank(np.array([0.5, 0.25, 0.25])) == pytest.approx(2**1.5)  # entropy 1.5 bits
    assert red.participation_ratio(np.array([0.5, 0.25, 0.25])) == pytest.approx(1 / 0.375)
    assert [red.components_for(np.array([6.0, 3.0, 1.0]), s) for s in (0.6, 0.61, 0.9, 0.95, 0.99)] == [1, 2, 2, 3, 3]
    assert red.components_for(np.array([1.0]), 0.99) == 1


@pytest.mark.parametrize(("n", "units"), [(30, 7), (6, 11)])
def test_eigenvalues_from_either_side(n: int, units: int) -> None:
    z, _ = red.standardised(np.random.default_rng(n).normal(size=(n, units)))
    slow_ones = np.sort(np.linalg.eigvalsh(np.corrcoef(np.random.default_rng(n).normal(size=(n, units)).T)))[::-1]
    np.testing.assert_allclose(red.eigenvalues(z), slow_ones[: min(n, units)], atol=1e-9)


def test_the_summary_of_two_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    source = np.linalg.qr(rng.normal(size=(15, 3)) - 0)[0]
    source = np.linalg.qr(source - source.mean(0))[0][:, :2]  # two directions without mean, at right angles
    rows = np.vstack([np.c_[source[:, [0, 0, 0]], 10 * source[:, [1, 1, 1]]], np.full((1, 6), np.nan)])
    got = summary(of(rows, monkeypatch, view="summary"))
    assert got["effective rank"] == pytest.approx(2, abs=1e-6)
    assert got["participation ratio"] == pytest.approx(2, abs=1e-6)
    assert got["components for 90% of the variance"] == 2
    assert got["components for 90%, raw responses"] == 1  # the one is a hundred times the other
    assert got["participation ratio, raw responses"] == pytest.approx(101**2 / (100**2 + 1), rel=1e-5)
    assert got["units with R² > 0.95 from another"] == 6
    assert got["mean |r| of two units"] == pytest.approx(6 / 15, abs=1e-6)


def test_chance_makes_no_pair_beyond_it_and_an_estimate_of_its_mean() -> None:
    pairs = 10 * 9 // 2
    beyond, means = 0, []
    for seed in range(200):
        z, _ = red.standardised(np.random.default_rng(seed).normal(size=(40, 10)))
        r = np.abs(red.correlations(z)[np.triu_indices(10, 1)])
        beyond += r.max() > red.chance_level(40, pairs)
        means.append(r.mean())
    assert 2 <= beyond <= 20  # 5 % of 200 are 10
    assert np.mean(means) == pytest.approx(math.sqrt(2 / (math.pi * 39)), rel=0.03)
    assert red.chance_level(3, 1) == 1


def test_sampled_and_nothing_to_say(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(0).normal(size=(16, 9))
    found = of(rows, monkeypatch, most_units=4, seed=3, view="units")
    assert len(found) == 4
    assert "sampled: 4 of 9 units, seed 3" in found.notes
    rows[:, 1:] = 0.1  # in float32 not a sum of powers of two: its mean is rounded
    with pytest.raises(DataError, match="nothing to correlate in conv1; 1 of its 9 units vary over 16 images; choose"):
        of(rows, monkeypatch)


def test_all_views_are_stored_and_drawn(tmp_path: Any) -> None:
    _, study, embed = studied("plain")
    for view in ("units", "summary", "matrix"):
        check_stored_and_drawn(Correlation(view=view)(study, embed[0]), tmp_path)
    with pytest.raises(UnknownName, match="no embedded layer named 'pool1'"):
        Correlation()(study, "pool1")
    with pytest.raises(UsageError, match=r"Correlation\.view must be one of pairs"):
        Correlation(view="tree")
