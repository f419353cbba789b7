"""The probe finds planted classes and none in noise; folds, twins and Wilson's interval against their definitions.

Turns red: in `responses/_folds.py`, `return fold[first]` -> `return fold`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from convscope.errors import DataError, UnknownName, UsageError
from convscope.responses import probe
from convscope.responses._folds import dealt, twins, wilson
from convscope.responses.probe import Probe
from tests.contracts.leaves import same
from tests.contracts.studies import studied


def of(rows: Any, labels: Any, monkeypatch: pytest.MonkeyPatch, **parameters: Any) -> Any:
    """A probe of these responses and labels."""
    _, study, _ = studied("plain")
    record = study.record
    monkeypatch.setattr(type(record), "embeddings", lambda self, layer: np.asarray(rows, np.float32))
    monkeypatch.setattr(record, "labels", np.asarray(labels, np.int64))
    return Probe(**parameters)(study, "conv1")


def test_planted_classes_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [40, 30, 20])
    rows = rng.normal(size=(90, 4)) + 8 * np.eye(4)[labels]
    found = of(rows, labels, monkeypatch)
    assert found.columns["class"].tolist() == ["all", "a", "b", "c"]
    assert found.columns["images"].tolist() == [90, 40, 30, 20]
    assert found.columns["right"].tolist() == [90, 40, 30, 20]
    np.testing.assert_allclose(found.columns["chance"], 1 / 3)
    np.testing.assert_allclose(found.columns["majority"], [40 / 90, 1, 0, 0])
    assert found.columns["mistaken_for"].tolist() == ["", "", "", ""]
    assert any(n.startswith("5 folds, seed 0; C chosen inside them: ") for n in found.notes)
    assert same(of(rows, labels, monkeypatch), found)


def test_noise_says_nothing_held_out_although_it_can_be_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty numbers for sixty images: whoever judges on the fitted ones sees nearly all of them right."""
    rng = np.random.default_rng(1)
    rows, labels = rng.normal(size=(60, 40)), np.arange(60) % 2
    found = of(rows, labels, monkeypatch)
    assert found.columns["low"][0] < 0.5 < found.columns["high"][0]
    fitted = float(next(n for n in found.notes if "fitted to" in n).split(": ")[1])
    assert fitted > 0.75


def test_chosen_inside_the_folds() -> None:
    """The classes answered for the held-out part do not change when its labels do."""
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(30, 5)), np.arange(30) % 2
    first = np.arange(30)
    fold = dealt(y, first, 5, 0)
    # The probe, fold by fold, written out
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    said, chosen, _, _ = Probe()._held_out(x, y, first, 5)
    for held in range(5):
        own, out = fold != held, fold == held
        scale = StandardScaler().fit(x[own])
        model = LogisticRegression(C=chosen[held], max_iter=500).fit(scale.transform(x[own]), y[own])
        np.testing.assert_array_equal(said[out], model.predict(scale.transform(x[out])))
        inner, right = dealt(y[own], np.arange(own.sum()), 3, 0), []
        for c in probe.STRENGTHS:
            n = 0
            for part in range(3):
                a, b = x[own][inner != part], x[own][inner == part]
                s = StandardScaler().fit(a)
                fit = LogisticRegression(C=c, max_iter=500).fit(s.transform(a), y[own][inner != part])
                n += int((fit.predict(s.transform(b)) == y[own][inner == part]).sum())
            right.append(n)
        assert chosen[held] == probe.STRENGTHS[right.index(max(right))]


def test_copies_of_an_image_do_not_help(monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise where every image is there four times: across folds, its copies would be recognised."""
    rng = np.random.default_rng(3)
    rows = np.tile(rng.normal(size=(24, 60)), (4, 1))
    labels = np.tile(np.arange(24) % 2, 4)
    found = of(rows, labels, monkeypatch)
    assert found.columns["accuracy"][0] < 0.75
    assert "72 images have the same responses as an earlier one, and were kept in its fold" in found.notes


def test_twins_and_folds() -> None:
    rng = np.random.default_rng(4)
    rows = rng.integers(0, 2, size=(50, 4)).astype(float)
    rows[rows == 0] = np.where(rng.random((rows == 0).sum()) < 0.5, 0.0, -0.0)
    slow = [next(j for j in range(50) if (rows[j] == rows[i]).all()) for i in range(50)]
    assert twins(rows).tolist() == slow
    labels = np.repeat([0, 1, 2], [23, 11, 7])
    fold = dealt(labels, np.arange(41), 5, 0)
    for label in range(3):
        counts = np.bincount(fold[labels == label], minlength=5)
        assert counts.max() - counts.min() <= 1
    assert np.ptp(np.bincount(fold)) <= 1
    assert (dealt(labels, np.arange(41), 5, 1) != fold).any()
    first = np.r_[np.arange(41), np.arange(41), np.arange(41)]  # every row three times
    three = dealt(np.tile(labels, 3), first, 5, 0)
    assert three.tolist() == np.tile(fold, 3).tolist()


def test_wilson_is_the_root_of_its_equation() -> None:
    """(p − π)² = z² π (1 − π) / n at both ends π."""
    right, n = np.array([0, 1, 50, 99, 100]), np.full(5, 100)
    low, high = wilson(right, n)
    for end in (low, high):
        np.testing.assert_allclose((right / n - end) ** 2, 1.959964**2 * end * (1 - end) / n, atol=1e-12)
    assert (low < right / n)[1:].all()
    assert low[0] == 0
    assert high[-1] == 1


def test_mistakes_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    labels = np.repeat([0, 1, 2], 30)
    rows = rng.normal(size=(90, 3)) + np.array([[0, 0, 0], [0, 0, 0.4], [9, 0, 0]])[labels]
    found = of(rows, labels, monkeypatch)
    assert found.columns["mistaken_for"].tolist()[:3] == ["", "b", "a"]
    assert found.columns["accuracy"][3] == 1
    per = found.columns["accuracy"][1:].mean()
    assert f"mean of the classes' accuracies: {per:.3f}" in found.notes


def test_what_is_left_out_and_lowered(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(6)
    labels = np.array([0, 1] * 4 + [-1] * 2)
    found = of(rng.normal(size=(10, 3)), labels, monkeypatch)
    assert found.columns["images"].tolist() == [8, 4, 4]
    assert found.notes[:2] == ("left out: 2 images without a label",
                               "folds lowered from 5: the smallest class has 4 different images")


def test_fits_that_do_not_settle_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "STEPS", 1)
    rng = np.random.default_rng(7)
    found = of(rng.normal(size=(30, 3)), np.arange(30) % 2, monkeypatch, folds=2)
    assert found.notes[-1] == "32 fits stopped after 1 steps, before they had settled"  # 2 × (3 × 5 + 1)


def test_a_unit_that_does_not_vary_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(8)
    rows, labels = rng.normal(size=(30, 3)), np.arange(30) % 2
    still = np.full((30, 1), 0.1) * (1 + 1e-7 * rng.normal(size=(30, 1)))  # rounding
    plain, more = of(rows, labels, monkeypatch), of(np.c_[rows, still], labels, monkeypatch)
    assert plain.columns["right"].tolist() == more.columns["right"].tolist()


def test_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(0).normal(size=(9, 3))
    with pytest.raises(DataError, match="a probe needs labels, and set has none; nobody says what is on the images; give a"):
        of(rows, [-1] * 9, monkeypatch)
    with pytest.raises(DataError, match="a probe tells classes apart; all 9 images are of 'b'; sweep images of two classes"):
        of(rows, [1] * 9, monkeypatch)
    with pytest.raises(DataError, match="too few images of 'c' for a probe; 2 different, and it needs 3; raise most, sweep"):
        of(rows, [0] * 7 + [2] * 2, monkeypatch)
    with pytest.raises(DataError, match="too few images of 'b' for a probe; 0 different"):  # all are twins of the first
        of(np.ones((9, 3)), [0] * 5 + [1] * 4, monkeypatch)
    with pytest.raises(UsageError, match=r"Probe\.folds must be in \[2, ∞\]; got 1"):
        Probe(folds=1)


def test_a_layer_without_embeddings() -> None:
    with pytest.raises(UnknownName, match="no embedded layer named 'pool1'"):
        Probe()(studied("plain")[1], "pool1")
