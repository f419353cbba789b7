"""CKA against the papers' formulas with every sum written out, its invariances, and correlation against NumPy's.

Turns red: in `similarity.centred`, `(n - 1) * (n - 2)` -> `n * (n - 2)` · `np.fill_diagonal(found, 0.0)` left out ·
in `Correlation.add`, `np.outer(*away) * share` left out.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convscope import similarity
from convscope.errors import DataError
from convscope.similarity import Correlation, cka


def slow_hsic(k: np.ndarray, other: np.ndarray, estimator: str) -> float:
    """Gretton et al. 2005, eq. 9: tr(KHLH)/(n − 1)². Song et al. 2012, eq. 5, with the traces as loops."""
    n = len(k)
    if estimator == "biased":
        h = np.eye(n) - np.ones((n, n)) / n
        return float(np.trace(k @ h @ other @ h)) / (n - 1) ** 2
    pairs = trace = 0.0
    for i, j in product(range(n), range(n)):
        trace += k[i, j] * other[i, j] if i != j else 0.0
        for m in range(n):
            pairs += k[i, j] * other[j, m] if i != j and j != m else 0.0
    sums = [sum(v[i, j] for i, j in product(range(n), range(n)) if i != j) for v in (k, other)]
    return (trace + sums[0] * sums[1] / ((n - 1) * (n - 2)) - 2 * pairs / (n - 2)) / (n * (n - 3))


def slow_cka(x: np.ndarray, y: np.ndarray, estimator: str) -> float:
    k, other = x @ x.T, y @ y.T
    hsic = [slow_hsic(a, b, estimator) for a, b in ((k, other), (k, k), (other, other))]
    return hsic[0] / np.sqrt(hsic[1] * hsic[2])


both = pytest.mark.parametrize("estimator", similarity.ESTIMATORS)


@both
@pytest.mark.parametrize("n", [4, 5, 9])
def test_same_as_the_sums_written_out(estimator: str, n: int) -> None:
    rng = np.random.default_rng(n)
    x = rng.normal(1.0, 1.0, (n, 3))
    y = rng.normal(-2.0, 3.0, (n, 7)) + x[:, :1]
    assert cka(x, y, estimator) == pytest.approx(slow_cka(x, y, estimator), abs=1e-12)
    a, b = (similarity.centred(similarity.gram(v), estimator) for v in (x, y))
    slow = slow_hsic(x @ x.T, y @ y.T, estimator)
    assert np.vdot(a, b) / similarity.scale(n, estimator) == pytest.approx(slow, rel=1e-10)


def test_the_biased_one_is_kornbliths_feature_formula() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(12, 3)), rng.normal(size=(12, 5))
    a, b = x - x.mean(0), y - y.mean(0)
    direct = np.linalg.norm(b.T @ a) ** 2 / np.linalg.norm(a.T @ a) / np.linalg.norm(b.T @ b)
    assert cka(x, y, "biased") == pytest.approx(direct, abs=1e-13)


@both
@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), units=st.integers(1, 6), factor=st.floats(1e-3, 1e3))
def test_rotations_scales_and_shifts_change_nothing(estimator: str, seed: int, units: int, factor: float) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(10, units)), rng.normal(size=(10, 4))
    turn = np.linalg.qr(rng.normal(size=(units, units)))[0]
    moved = factor * (x @ turn) + rng.normal(size=units)
    assert cka(x, moved, estimator) == pytest.approx(1, abs=1e-9)
    assert cka(moved, y, estimator) == pytest.approx(cka(x, y, estimator), abs=1e-9)
    assert cka(x[:, rng.permutation(units)], y, estimator) == pytest.approx(cka(x, y, estimator), abs=1e-9)


def test_other_linear_maps_do_change_it() -> None:
    x = np.random.default_rng(0).normal(size=(50, 2))
    assert cka(x, x * [1.0, 20.0], "biased") < 0.9


def test_only_the_unbiased_one_is_zero_for_noise_with_many_features() -> None:
    rng = np.random.default_rng(0)
    found = {how: [cka(rng.normal(size=(16, 500)), rng.normal(size=(16, 500)), how) for _ in range(40)]
             for how in similarity.ESTIMATORS}
    assert abs(np.mean(found["unbiased"])) < 0.02
    assert np.mean(found["biased"]) > 0.9


def test_a_constant_representation_has_none() -> None:
    x = np.random.default_rng(0).normal(size=(8, 3))
    assert np.isnan(cka(x, np.full((8, 2), 0.1, np.float32)))


def test_wide_maps_are_multiplied_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(0).normal(size=(6, 3, 5, 5)).astype(np.float32)
    whole = similarity.gram(x)
    monkeypatch.setattr(similarity, "COLUMNS", 7)
    np.testing.assert_allclose(similarity.gram(x), whole, atol=1e-12)
    rows = x.reshape(6, -1).astype(np.float64)
    rows -= rows.mean(0)
    np.testing.assert_allclose(whole, rows @ rows.T, atol=1e-12)


@both
def test_too_few_images(estimator: str) -> None:
    few = similarity.FEWEST[estimator] - 1
    with pytest.raises(DataError, match=f"{few} images are too few .*; the {estimator} estimator needs {few + 1}; give"):
        similarity.centred(np.eye(few), estimator)


def test_correlation_in_batches_is_numpys() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(50, 2, (101, 3))
    b = np.concatenate([a[:, :1] + rng.normal(size=(101, 1)), np.full((101, 1), 0.1), -a[:, 2:]], 1)
    found = Correlation(3, 3)
    for at in (slice(0, 1), slice(1, 40), slice(40, 101)):
        found.add(a[at], b[at])
    for i, j in product(range(3), (0, 2)):
        assert found.values()[i, j] == pytest.approx(np.corrcoef(a[:, i], b[:, j])[0, 1], abs=1e-12)
    assert np.isnan(found.values()[:, 1]).all()
    assert found.values()[2, 2] == pytest.approx(-1)
