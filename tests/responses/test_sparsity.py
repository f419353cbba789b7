"""Sparseness against loops, its two ends, and dead units told from silent means.

Turns red: in `responses/sparsity.py`, `(1 - 1 / n)` -> `(1 + 1 / n)`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from convscope.errors import UnknownName, UsageError
from convscope.responses.sparsity import Sparsity, sparseness
from tests.contracts.studies import studied


def slow(r: list[float]) -> float:
    """From the paper's formula, number by number."""
    n = len(r)
    mean, square = 0.0, 0.0
    for one in r:
        mean += one / n
        square += one * one / n
    return (1 - mean * mean / square) / (1 - 1 / n)


def of(rows: Any, monkeypatch: pytest.MonkeyPatch, layer: str = "conv1", **parameters: Any) -> Any:
    _, study, _ = studied("plain")
    monkeypatch.setattr(type(study.record), "embeddings", lambda self, layer: np.asarray(rows, np.float32))
    return Sparsity(**parameters)(study, layer)


def test_same_as_the_loop() -> None:
    r = np.maximum(np.random.default_rng(0).normal(size=(20, 9)), 0) + 1e-9
    np.testing.assert_allclose(sparseness(r), [slow(row.tolist()) for row in r], rtol=1e-12)


@pytest.mark.parametrize("size", [1e-200, 1.0, 1e200])
@pytest.mark.parametrize("m", [1, 2, 5, 8])
def test_of_eight_images_m_the_same(m: int, size: float) -> None:
    r = size * np.r_[np.ones(m), np.zeros(8 - m)]
    np.testing.assert_allclose(sparseness(r[None]), (1 - m / 8) / (1 - 1 / 8), atol=1e-15)  # a = m/n


def test_what_has_no_sparseness() -> None:
    assert np.isnan(sparseness(np.zeros((2, 3)))).all()
    assert np.isnan(sparseness(np.ones((2, 1)))).all()


def test_by_unit_and_by_image(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.zeros((16, 6))
    rows[:, 0] = 2.0  # always on
    rows[3, 1] = 5.0  # one image
    rows[:8, 2] = 1.0  # half of them
    rows[:, 3] = -1.0  # never above zero in the mean
    found = of(rows, monkeypatch)
    np.testing.assert_allclose(found.columns["sparseness"], [0, 1, (1 - 0.5) / (1 - 1 / 16), *[np.nan] * 3], atol=1e-12)
    assert found.columns["fires"].tolist() == [1, 1 / 16, 0.5, 0, 0, 0]
    assert found.columns["peak"].tolist() == [2, 5, 1, 0, 0, 0]
    # conv1's maps are above zero somewhere, whatever the means are: the record of the sweep knows
    assert found.columns["state"].tolist() == ["always on", "", "", "", "", ""]
    assert "dead: 0 of 6 units, never above zero anywhere on the 15 images measured" in found.notes
    assert "always on: 1, above zero on all 16 images" in found.notes
    assert found.notes[-1].startswith("1 units have a negative mean on some image, which counts as zero")
    images = of(rows, monkeypatch, of="images")
    np.testing.assert_allclose(images.columns["sparseness"][[3, 0, 15]],
                               [slow([2, 5, 1, 0, 0, 0]), slow([2, 0, 1, 0, 0, 0]), 1])
    np.testing.assert_allclose(images.columns["active"][[3, 0, 15]], [3 / 6, 2 / 6, 1 / 6])
    assert images.columns["image"].tolist() == list(range(16))
    assert images.columns["label"].tolist() == [i % 3 for i in range(16)]
    assert images.notes == found.notes
    np.testing.assert_array_equal(found.columns["positions"], studied("plain")[1].record.table("conv1").columns["fires"])


def test_a_layer_that_was_not_measured_knows_only_means(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.abs(np.random.default_rng(0).normal(size=(16, 6)))
    rows[:, 4] = 0
    found = of(rows, monkeypatch, "no such measure")
    assert "positions" not in found.columns
    assert found.columns["state"].tolist() == ["always on"] * 4 + ["dead", "always on"]
    assert "dead: 1 of 6 units, never above zero in the mean over an image, on 16 images" in found.notes
    assert "images on which no unit is above zero: 0" in found.notes


def test_dead_after_a_relu() -> None:
    _, study, _ = studied("plain")
    facts = study.record.facts
    assert "relu1" in facts.layers
    tallied = study.record.tally("conv1").value[:, 0]
    assert (tallied > 0).all()  # so that the test above says something


def test_sampled_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.ones((16, 6))
    assert "sampled: 4 of 16 images, seed 2" in of(rows, monkeypatch, most=4, seed=2).notes
    none = of(np.zeros((16, 6)), monkeypatch).notes
    assert "lifetime sparseness of the units: none has any" in none
    assert "images on which no unit is above zero: 16" in none


def test_errors() -> None:
    _, study, _ = studied("plain")
    with pytest.raises(UnknownName, match="no embedded layer named 'pool1'"):
        Sparsity()(study, "pool1")
    with pytest.raises(UsageError, match=r"Sparsity\.of must be one of units, images"):
        Sparsity(of="pixels")
