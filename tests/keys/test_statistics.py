"""Statistics alone: a permutation within blocks falls to the correlations of neighbours.

Turns red: in `keys/statistics.py`, `plain[..., found] = rows` -> `plain = rows[..., found]` · `maximize=True` -> `False` in
the last assignment · `_placed`: `plain[:, found] = rows` -> `rows[:, found]`.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convscope.errors import UsageError
from convscope.keys import blocks
from convscope.keys.key import Key
from convscope.keys.known import EXACT, Known, quality
from convscope.keys.moments import correlations, moments
from convscope.keys.statistics import from_correlations, match
from tests.keys.sets import case, digits


@pytest.mark.parametrize(("kind", "block"), [("permutation", 2), ("permutation", 4), ("shuffle", 2), ("shuffle", 4)])
def test_own_images_give_the_key_away(kind: str, block: int) -> None:
    plain, keyed, known = case(kind, block)
    told: list[int] = []
    rebuilt = from_correlations(keyed, known, lambda done, total, text: told.append(done))
    assert np.median(quality(plain, rebuilt.images)["psnr"]) == EXACT
    assert told == list(range(1, 13))
    assert "400" in rebuilt.notes[0]


def test_neighbours_alone_give_a_small_block_away() -> None:
    plain, keyed, known = case("permutation", 2)
    rebuilt = from_correlations(keyed, Known("permutation", 2))
    assert np.median(quality(plain, rebuilt.images)["psnr"]) == EXACT
    assert "no image of the attacker's own" in rebuilt.notes[0]
    assert known.kind == "permutation"


@settings(deadline=None, max_examples=15)
@given(st.integers(3, 7), st.integers(0, 99))
def test_matching_against_all_permutations(n: int, seed: int) -> None:
    """The best of all n! permutations, tried one by one, is no better than the one that is found where they fit exactly."""
    rng = np.random.default_rng(seed)
    there = [rng.normal(size=(n, n)) for _ in range(2)]
    there[0] = there[0] + there[0].T
    p = rng.permutation(n)
    here = [m[np.ix_(p, p)] for m in there]
    found, score = match(here, there, np.zeros((n, n)))
    best = sum(float((m * m).sum()) for m in there)  # Cauchy–Schwarz: nothing is above the fit
    assert score == pytest.approx(best)
    for m, other in zip(here, there, strict=True):
        np.testing.assert_allclose(m, other[np.ix_(found, found)])


def test_moments_against_loops() -> None:
    x = digits()[:20]
    found = moments(x, 4)
    rows = [x[b, 0, r : r + 4, c : c + 4].ravel() for b in range(20) for r in (0, 4) for c in (0, 4)]
    np.testing.assert_allclose(found.mean, np.mean(rows, 0))
    np.testing.assert_allclose(found.within, np.cov(np.transpose(rows), bias=True), atol=1e-12)
    right = np.mean([np.outer(x[b, 0, r : r + 4, :4].ravel() - found.mean, x[b, 0, r : r + 4, 4:].ravel() - found.mean)
                     for b in range(20) for r in (0, 4)], 0)
    assert found.right is not None
    np.testing.assert_allclose(found.right, right, atol=1e-12)
    key = Key.new("orthogonal", 4, (1, 8, 8), 0)
    q, keyed = key._secret, moments(key(x), 4)
    for a, b in zip(keyed.matrices, found.matrices, strict=True):
        np.testing.assert_allclose(a, q @ b @ q.T, atol=1e-12)  # what a key does to them
    whole = moments(x, 8)
    assert whole.right is None
    assert len(correlations(whole)) == 1
    assert np.abs(correlations(found)[0]).max() <= 1 + 1e-12


def test_blocks_lie_as_a_convolution_reads_them() -> None:
    x = np.arange(2 * 2 * 4 * 6).reshape(2, 2, 4, 6)
    rows = blocks.split(x, 2)
    np.testing.assert_array_equal(rows[1, 4], x[1, :, 2:4, 2:4].reshape(-1))
    np.testing.assert_array_equal(blocks.join(rows, 2, (2, 4, 6)), x)


def test_not_for_every_key() -> None:
    with pytest.raises(UsageError, match=r"correlations tell which pixel went where; an orthogonal key mixes pixels"):
        from_correlations(digits()[:4], Known("orthogonal", 4))
    with pytest.raises(UsageError, match=r"which block belongs where; without plain images nothing tells"):
        from_correlations(digits()[:4], Known("shuffle", 4))
