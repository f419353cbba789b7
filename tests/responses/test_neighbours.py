"""Nearest neighbours against comparing all pairs, and the ties.

Turns red: in `responses/neighbours.py`, `distance[self.image] = np.nan` -> `distance[0] = np.nan`.
"""

from __future__ import annotations

import numpy as np
import pytest

from convscope.errors import DataError, UnknownName, UsageError
from convscope.record import embedding_file
from convscope.responses.neighbours import Neighbours
from tests import oracles
from tests.contracts.studies import BROKEN, studied


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("image", [0, 6, 15])
def test_same_as_comparing_all_pairs(metric: str, image: int) -> None:
    _, study, embed = studied("plain")
    for layer in embed:
        found = Neighbours(image=image, k=6, metric=metric)(study, layer)
        slow = oracles.neighbours(study.record.embeddings(layer), image, 6, metric)
        assert found.columns["image"].tolist() == [i for _, i in slow]
        np.testing.assert_allclose(found.columns["distance"], [d for d, _ in slow], atol=1e-12)
        assert found.columns["id"].tolist() == [f"set/{i:03d}" for _, i in slow]
        assert found.columns["label"].tolist() == [i % 3 for _, i in slow]
        assert found.columns["rank"].tolist() == [1, 2, 3, 4, 5, 6]


def test_a_twin_is_the_nearest_at_no_distance() -> None:
    _, study, embed = studied("plain")
    for metric in ("cosine", "euclidean"):
        found = Neighbours(image=7, k=1, metric=metric)(study, embed[0])
        assert found.columns["image"].tolist() == [6]
        assert found.columns["distance"][0] < 1e-7


def test_all_the_others_at_most_and_what_was_left_out() -> None:
    _, study, embed = studied("plain")
    found = Neighbours(image=2, k=1000, metric="euclidean")(study, embed[0])
    assert sorted(found.columns["image"].tolist()) == [i for i in range(16) if i not in (2, BROKEN)]
    assert found.notes == ("exact, among 14 images in the 6 numbers of conv1", "left out: 1 images without embedding")


def test_ties_go_to_the_smaller_number(monkeypatch: pytest.MonkeyPatch) -> None:
    _, study, embed = studied("plain")
    rows = np.array([[1, 0], [3, 0], [0, 0], [-1, 0], [2, 0], [0, 1]] + [[9, 9]] * 10, np.float32)
    monkeypatch.setattr(type(study.record), "embeddings", lambda self, layer: rows)
    assert Neighbours(image=2, k=3, metric="euclidean")(study, embed[0]).columns["image"].tolist() == [0, 3, 5]
    found = Neighbours(image=0, k=9)(study, embed[0])
    assert found.columns["image"].tolist() == [1, 4, 6, 7, 8, 9, 10, 11, 12]
    assert found.notes[1] == "left out: 1 images without embedding or with all units zero"
    with pytest.raises(DataError, match="set/002 has no direction in conv1; all its units are zero"):
        Neighbours(image=2)(study, embed[0])


def test_what_has_no_neighbours_is_refused() -> None:
    _, study, embed = studied("plain")
    assert embedding_file(study.record.folder, embed[0]).exists()
    with pytest.raises(DataError, match="set/005 has no embedding; it could not be measured; choose another image"):
        Neighbours(image=BROKEN)(study, embed[0])
    with pytest.raises(UnknownName, match="numbers go from 0 to 15"):
        Neighbours(image=16)(study, embed[0])
    with pytest.raises(UsageError, match=r"Neighbours\.metric must be one of cosine, euclidean"):
        Neighbours(metric="manhattan")
