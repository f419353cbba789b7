"""The planted set: only the patch tells the class, and everything else is drawn alike.

Turns red: in `planted.py`, `>= PATCH or` -> `>= 1 or` in `places` · a patch that is brighter for some classes,
`image[masks[n]] = 127.5 +` -> `127.5 + n % 4 +`.
"""

from __future__ import annotations

import numpy as np
import pytest

from convscope import planted
from convscope.data import open_collection
from convscope.errors import UsageError

FOUND = planted.plant(400, seed=3)


def test_the_same_seed_gives_the_same_images_and_fewer_are_the_first_of_more() -> None:
    few, other = planted.plant(8, seed=3), planted.plant(8, seed=4)
    assert np.array_equal(few.pixels, FOUND.pixels[:8])
    assert np.array_equal(few.masks, FOUND.masks[:8])
    assert not np.array_equal(few.pixels, other.pixels)


def test_patch_and_decoy_are_whole_and_apart() -> None:
    assert (FOUND.masks.sum((1, 2)) == 64).all()
    assert (FOUND.decoys.sum((1, 2)) == 64).all()
    assert not (FOUND.masks & FOUND.decoys).any()
    places = FOUND.masks.reshape(400, -1).argmax(1)
    assert len(set(places.tolist())) > 150  # of 25·25


def test_the_patch_alone_tells_the_class() -> None:
    """Its stripes correlate with their pattern; brightness, contrast and the rest of the image are the same for all."""
    patches = np.stack([p[m].reshape(8, 8) for p, m in zip(FOUND.pixels[..., 0].astype(float), FOUND.masks, strict=True)])
    match = np.einsum("nij,kij->nk", patches - 127.5, planted.patterns()) / 64
    assert (match[:, :4].argmax(1) == FOUND.labels).all()
    assert (match[np.arange(400), FOUND.labels] > 40).all()
    by_class = [patches[FOUND.labels == k] for k in range(4)]
    assert np.ptp([p.mean() for p in by_class]) < 1
    assert np.ptp([p.std() for p in by_class]) < 1
    rest = np.where(FOUND.masks, np.nan, FOUND.pixels[..., 0].astype(float))
    assert np.ptp([np.nanmean(rest[FOUND.labels == k]) for k in range(4)]) < 1.5


def test_the_decoy_has_as_many_edges_as_the_patch() -> None:
    steps = [np.abs(np.diff(p, axis=0)).sum() + np.abs(np.diff(p, axis=1)).sum() for p in planted.patterns()]
    assert steps[-1] >= max(steps[:2])


def test_it_is_a_collection_of_its_own() -> None:
    found = open_collection("planted")
    assert (len(found), found.classes, found.ids[42]) == (planted.COUNT, planted.CLASSES, "planted/0042")
    assert np.array_equal(found[42], planted.plant(43).pixels[42])


def test_none_is_too_few() -> None:
    with pytest.raises(UsageError, match="a planted set needs at least one image; got 0; 1200 are usual"):
        planted.plant(0)
