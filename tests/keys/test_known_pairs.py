"""Known pairs: exact for weak keys as soon as there are enough of them; the positive control of the report.

Turns red: in `keys/known_pairs.py`, `return u @ v` -> `return v.T @ u.T` · `plain[:, order] = rows` -> `rows[:, order]` ·
`assigned(y.T, x.T)` -> `assigned(x.T, y.T)`.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convscope.errors import UsageError
from convscope.keys.key import KINDS, Key
from convscope.keys.known import EXACT, Known, quality
from convscope.keys.known_pairs import METHODS, from_pairs, least_squares, procrustes
from tests.keys.sets import case


@pytest.mark.parametrize(("kind", "block", "pairs"), [
    ("permutation", 4, 1), ("permutation", 8, 4), ("orthogonal", 2, 1), ("orthogonal", 4, 4), ("orthogonal", 8, 90),
    ("shuffle", 4, 1), ("shuffle", 2, 4),
])
def test_few_pairs_are_enough(kind: str, block: int, pairs: int) -> None:
    plain, keyed, known = case(kind, block, pairs)
    for method in METHODS:
        rebuilt = from_pairs(keyed, known, method)
        found = quality(plain, rebuilt.images)
        assert np.median(found["psnr"]) == EXACT
        assert np.median(found["ssim"]) == pytest.approx(1)
        assert f"{pairs} known pairs" in rebuilt.notes[0]


def test_too_few_pairs_are_not_enough() -> None:
    plain, keyed, known = case("orthogonal", 8, 16)
    rebuilt = from_pairs(keyed, known)
    assert 8 < np.median(quality(plain, rebuilt.images)["psnr"]) < 30
    assert rebuilt.notes == ("16 known pairs: 16 blocks of rank 16, of 64 needed",)


@settings(deadline=None, max_examples=20)
@given(st.sampled_from(KINDS), st.integers(1, 3), st.integers(2, 4), st.integers(0, 99))
def test_random_pairs_give_the_key(kind: str, c: int, k: int, seed: int) -> None:
    key, rng = Key.new(kind, k, (c, 2 * k, 3 * k), seed), np.random.default_rng(seed)
    x, new = rng.random((12, c, 2 * k, 3 * k)), rng.random((3, c, 2 * k, 3 * k))
    rebuilt = from_pairs(key(new), Known(kind, k, plain=x, keyed=key(x)), "least squares")
    np.testing.assert_allclose(rebuilt.images, new, atol=1e-9)


def test_the_two_ways_against_the_key_itself() -> None:
    key, rng = Key.new("orthogonal", 3, (1, 3, 3), 0), np.random.default_rng(0)
    x = rng.normal(size=(20, 9))
    y = x @ key._secret.T
    np.testing.assert_allclose(procrustes(x, y), key._secret, atol=1e-12)
    np.testing.assert_allclose(least_squares(x, y), key._secret, atol=1e-12)  # the inverse of Qᵀ from the right
    few = procrustes(x[:8], y[:8])  # one short: orthogonal all the same, and right but for the sign of one axis
    np.testing.assert_allclose(few @ few.T, np.eye(9), atol=1e-12)
    assert np.linalg.matrix_rank(few - key._secret, tol=1e-9) <= 1


def test_what_it_cannot_do_without() -> None:
    _, keyed, known = case("orthogonal", 4)
    with pytest.raises(UsageError, match=r"known pairs are plain images and the same ones keyed; got \(0, 1, 8, 8\)"):
        from_pairs(keyed, known)
    with pytest.raises(UsageError, match=r"no method 'magic' for known pairs; there are procrustes, least squares"):
        from_pairs(keyed, case("orthogonal", 4, 1)[2], "magic")
