"""CKA of a network's own layers: of embeddings, against the papers' sums written out.

Turns red: in `responses/cka.py`, `np.vdot(a, b)) for a, b in ((mine, mine)` -> `((mine, other)`.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from convscope.errors import DataError, UnknownName, UsageError
from convscope.responses.cka import CKA
from tests.contracts.studies import studied
from tests.test_similarity import slow_cka


@pytest.mark.parametrize("estimator", ["unbiased", "biased"])
def test_same_as_the_sums_written_out(estimator: str) -> None:
    _, study, embed = studied("plain")
    found = CKA(estimator=estimator)(study, embed[0])
    assert found.columns["layer"].tolist() == list(embed) == ["conv1", "fc2"]
    assert found.columns["units"].tolist() == [6, 5]
    kept = [i for i in range(16) if i != 5]
    x, y = (np.asarray(study.record.embeddings(layer))[kept].astype(float) for layer in embed)
    np.testing.assert_allclose(found.columns["cka"], [1, slow_cka(x, y, estimator)], atol=1e-10)
    assert found.notes[0].startswith(f"15 images, {estimator} HSIC")
    assert found.notes[1].startswith("left out: 1 of 16 images")
    back = CKA(estimator=estimator)(study, embed[1])
    assert back.columns["cka"][0] == pytest.approx(found.columns["cka"][1])


def test_a_sample_is_said_and_a_layer_that_lacks_images_is_compared_over_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    _, study, embed = studied("plain")
    found = CKA(most=8, seed=2)(study, embed[0])
    assert any(note == "sampled: 8 of 15 images, seed 2" for note in found.notes)
    x, y = (np.array(study.record.embeddings(layer)) for layer in embed)
    y[3] = np.inf
    monkeypatch.setattr(type(study.record), "embeddings", lambda self, layer: x if layer == embed[0] else y)
    found = CKA()(study, embed[0])
    kept = [i for i in range(16) if i not in (3, 5)]
    assert found.columns["cka"][1] == pytest.approx(slow_cka(x[kept].astype(float), y[kept].astype(float), "unbiased"))
    assert found.notes[-1] == "fc2: over the 14 images with an embedding"


def test_a_constant_layer_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    _, study, embed = studied("plain")
    x = np.array(study.record.embeddings(embed[0]))
    same = np.full((16, 5), 0.1, np.float32)
    monkeypatch.setattr(type(study.record), "embeddings", lambda self, at: x if at == embed[0] else same)
    found = CKA()(study, embed[0])
    assert found.columns["cka"][0] == pytest.approx(1)
    assert np.isnan(found.columns["cka"][1])


def test_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    _, study, embed = studied("plain")
    with pytest.raises(UnknownName, match=r"no embedded layer named 'pool1'.*name it in --embed when sweeping"):
        CKA()(study, "pool1")
    rows = np.array(study.record.embeddings(embed[0]))
    rows[3:] = np.nan
    with monkeypatch.context() as patch:
        patch.setattr(type(study.record), "embeddings", lambda self, layer: rows)
        with pytest.raises(DataError, match="3 images are too few to compare representations; the unbiased estimator"):
            CKA()(study, embed[0])
    monkeypatch.setattr(study.record, "facts", dataclasses.replace(study.record.facts, embed=(embed[0],)))
    with pytest.raises(UsageError, match="conv1 has no layer to be compared with; embeddings were kept of conv1 only; name"):
        CKA()(study, embed[0])
