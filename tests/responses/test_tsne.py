"""t-SNE keeps groups apart, gives the same bits twice, and says what it lowered or left out.

Turns red: in `responses/tsne.py`, `min(self.perplexity, (len(index) - 1) / 3)` -> `self.perplexity`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from convscope.errors import DataError
from convscope.responses.tsne import TSNE
from tests.contracts.leaves import same
from tests.contracts.studies import studied


def of(rows: Any, monkeypatch: pytest.MonkeyPatch, **parameters: Any) -> Any:
    _, study, embed = studied("plain")
    monkeypatch.setattr(type(study.record), "embeddings", lambda self, layer: np.asarray(rows, np.float32))
    return TSNE(**parameters)(study, embed[0])


def test_groups_stay_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(16, 60)) + 30 * np.repeat(np.eye(60)[:2], 8, 0)
    found = of(rows, monkeypatch, perplexity=3.0, iterations=200)
    a, b = found.points[:8], found.points[8:]
    inside = max(np.linalg.norm(g - g.mean(0), axis=1).max() for g in (a, b))
    assert np.linalg.norm(a.mean(0) - b.mean(0)) > 2 * inside
    assert found.notes == ("on the first 50 principal components (100% of variance)", "perplexity 3, 200 iterations, seed 0")


def test_same_seed_same_bits_and_silence(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    rows = np.random.default_rng(1).normal(size=(16, 5))
    first, second = (of(rows, monkeypatch, perplexity=4.0, iterations=50) for _ in range(2))
    assert same(first, second)
    out, errors = capfd.readouterr()
    assert (out, errors) == ("", "")


def test_perplexity_is_lowered_for_few_images(monkeypatch: pytest.MonkeyPatch) -> None:
    found = of(np.random.default_rng(2).normal(size=(5, 3)), monkeypatch, iterations=20)
    assert found.notes == ("perplexity lowered from 30: there are only 5 images", "perplexity 1.33, 20 iterations, seed 0")
    assert found.points.shape == (5, 2)


def test_too_few_or_equal_images_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="t-SNE of 4 images says nothing; it needs at least 5"):
        of(np.eye(4), monkeypatch)
    with pytest.raises(DataError, match="all images have the same responses in conv1; they cannot be told apart"):
        of(np.ones((8, 3)), monkeypatch)
