"""PCA against power iteration, its sign, and the cases without variance.

Turns red: in `responses/_components.py`, `strongest < 0` -> `strongest > 0`.
"""

from __future__ import annotations

import numpy as np
import pytest

from convscope.responses._components import components
from convscope.responses.pca import PCA
from tests import oracles
from tests.contracts.studies import studied


@pytest.mark.parametrize(("n", "units"), [(40, 6), (5, 12), (7, 7)])
def test_same_as_power_iteration(n: int, units: int) -> None:
    rng = np.random.default_rng(n)
    vectors = rng.normal(size=(n, units)) * np.linspace(3, 0.3, units)
    points, shares = components(vectors, 2)
    axes, wanted = oracles.principal_axes(vectors, 2)
    axes *= np.sign(axes[[0, 1], np.abs(axes).argmax(1)])[:, None]
    np.testing.assert_allclose(shares, wanted, rtol=1e-6)
    np.testing.assert_allclose(points, (vectors - vectors.mean(0)) @ axes.T, atol=1e-5)


def test_the_sign_does_not_depend_on_the_solver() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(6, 6)) * np.arange(1, 7)
    tall = np.concatenate([vectors, vectors])  # more images than units: the other solver
    np.testing.assert_allclose(components(np.c_[vectors, np.zeros((6, 3))], 2)[0], components(tall, 2)[0][:6], atol=1e-9)


def test_without_variance_all_points_are_one() -> None:
    for vectors in (np.ones((5, 3)), np.zeros((1, 3))):
        points, shares = components(vectors, 2)
        assert not points.any()
        assert not shares.any()
    points, shares = components(np.array([[1.0], [2.0], [4.0]]), 2)  # one unit: one component
    assert shares.tolist() == [1.0, 0.0]
    np.testing.assert_allclose(points[:, 0], np.array([1, 2, 4]) - 7 / 3)


def test_the_map_of_a_layer() -> None:
    _, study, embed = studied("plain")
    found = PCA()(study, embed[0])
    vectors, index, _ = study.vectors(embed[0], 100, 0)
    points, shares = components(vectors, 2)
    np.testing.assert_array_equal(found.points, points)
    assert found.ids == tuple(f"set/{i:03d}" for i in index)
    assert found.labels is not None
    assert found.labels.tolist() == [i % 3 for i in index]
    assert found.classes == ("a", "b", "c")
    assert found.axes == (f"component 1 ({shares[0]:.0%} of variance)", f"component 2 ({shares[1]:.0%} of variance)")
    assert found.notes == ("left out: 1 of 16 images, which could not be measured",)
    assert "sampled: 4 of 15 images, seed 2" in PCA(most=4, seed=2)(study, embed[0]).notes


def test_equal_images_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    _, study, embed = studied("plain")
    monkeypatch.setattr(type(study.record), "embeddings", lambda self, layer: np.ones((16, 3), np.float32))
    assert PCA()(study, embed[0]).notes == ("all images have the same responses",)
