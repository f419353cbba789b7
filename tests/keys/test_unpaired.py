"""Moments without pairs: eigenvectors, their signs, and two clouds laid on each other.

Turns red: in `keys/unpaired.py`, `v_y * signs @ v_x.T` -> `v_y @ v_x.T` · `a[:count][pairs[1]]` -> `a[:count]`.
"""

from __future__ import annotations

import re

import numpy as np
import pytest

from convscope.errors import UsageError
from convscope.keys import unpaired
from convscope.keys.key import Key
from convscope.keys.known import Known, quality
from convscope.keys.moments import moments
from convscope.keys.unpaired import aligned, from_moments
from tests.keys.sets import case, digits


@pytest.mark.parametrize(("block", "least", "rounds"), [(2, 25.0, 8), pytest.param(4, 13.5, 24, marks=pytest.mark.slow)])
def test_digits_come_back_without_a_pair(block: int, least: float, rounds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpaired, "ROUNDS", rounds)
    plain, keyed, known = case("orthogonal", block, own=700)
    rebuilt = from_moments(keyed, known)
    mean = np.broadcast_to(known.own.mean(0), plain.shape)
    floor = np.median(quality(plain, mean)["psnr"])
    assert np.median(quality(plain, rebuilt.images)["psnr"]) > max(least, floor + 2)
    if block == 2:
        assert rebuilt.images.tobytes() == from_moments(keyed, known).images.tobytes()


def test_the_clouds_come_nearer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Assignment and Procrustes, in turn, leave blocks nearer to their partners than the eigenvectors alone."""
    monkeypatch.setattr(unpaired, "SAMPLE", 250)
    _, keyed, known = case("orthogonal", 4, own=300)
    note = from_moments(keyed, known).notes[0]
    first, after = (float(v) for v in re.findall(r"partner (\d\.\d+), after 24 rounds (\d\.\d+)", note)[0])
    assert after < 0.9 * first


def test_the_same_moments_give_the_key() -> None:
    """Where both sides have the very same moments and distinct eigenvalues, the key is exact, signs included."""
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(8, 8)) * np.linspace(0.3, 3, 8)
    x = (rng.normal(size=(60, 4, 8)).cumsum(1) @ mixing.T + 1).reshape(60, 2, 2, 2, 2, 2)
    x = x.transpose(0, 3, 1, 4, 2, 5).reshape(60, 2, 4, 4)
    key = Key.new("orthogonal", 2, (2, 4, 4), 3)
    np.testing.assert_allclose(aligned(moments(key(x), 2), moments(x, 2)), key._secret, atol=1e-6)


def test_not_for_every_key_and_not_without_images() -> None:
    with pytest.raises(UsageError, match=r"moments tell how the axes of a block were turned; a shuffle turns nothing"):
        from_moments(digits()[:4], Known("shuffle", 4, own=digits()[:4]))
    with pytest.raises(UsageError, match=r"moments are compared with those of plain images; none was given"):
        from_moments(digits()[:4], Known("orthogonal", 4))
