"""Collections: stable ids and numbers, batches, what fails, splitting.

Mutations that turn this red (each tried): record failures under the position instead of the number · yield empty batches ·
`stop` without the failed images · no `permutation` in `split` · leave out `pool.shutdown` · `depth` positions in wrong order
(`appendleft`).
"""

from __future__ import annotations

import threading

import numpy as np
import pytest

from convscope.collection import Collection
from convscope.errors import DataError, ShapeError, UnknownName, UsageError
from convscope.images import PRESETS, Pixels

UNIT = PRESETS["unit"]


def collection(n: int = 10, bad: tuple[int, ...] = (), ahead: bool = False, labels: list[int] | None = None) -> Collection:
    def read(i: int) -> tuple[Pixels, tuple[str, ...]]:
        if i in bad:
            raise DataError(f"image {i} is broken")
        return np.full((2, 3, 3), i, np.uint8), ("even",) if i % 2 == 0 else ()

    numbers = np.array(labels if labels else [-1] * n, np.int64)
    return Collection("set", tuple(f"i{k}" for k in range(n)), numbers, (), read, np.arange(n), ahead=ahead)


@pytest.mark.parametrize("ahead", [False, True])
def test_batches_leave_out_what_fails_and_keep_numbers(ahead: bool) -> None:
    found = collection(10, bad=(1, 3, 4, 5), ahead=ahead)
    batches = list(found.batches(UNIT, 3))
    assert [b.index.tolist() for b in batches] == [[0, 2], [6, 7, 8], [9]]
    assert [b.stop for b in batches] == [3, 9, 10]
    assert batches[0].ids == ("i0", "i2")
    np.testing.assert_allclose(batches[1].x[:, 0, 0, 0].numpy() * 255, [6, 7, 8], atol=1e-4)
    assert batches[0].x.shape == (2, 3, 2, 3)
    assert [(s.id, s.reason) for s in found.skipped] == [(f"i{k}", f"image {k} is broken") for k in (1, 3, 4, 5)]
    list(found.batches(UNIT, 3))
    assert len(found.skipped) == 4  # a second pass names nothing twice
    assert found.remarks == {"even": 4}


def test_going_on_from_stop() -> None:
    found = collection(10, bad=(1, 3, 4, 5))
    for size in (1, 2, 3, 4, 20):
        first = next(iter(found.batches(UNIT, size)))
        rest = [i for b in found.batches(UNIT, size, start=first.stop) for i in b.index]
        assert [*first.index, *rest] == [0, 2, 6, 7, 8, 9]
    assert [b.index.tolist() for b in found.batches(UNIT, 4, start=2, stop=8)] == [[2], [6, 7]]
    assert [b.index.tolist() for b in found.batches(UNIT, 2, order=np.array([9, 1, 0]))] == [[9], [0]]
    assert list(found.batches(UNIT, 4, start=10)) == []


def test_stopping_early_leaves_no_thread() -> None:
    for _ in range(3):
        for _batch in collection(50, ahead=True).batches(UNIT, 4):
            break
    assert not [t for t in threading.enumerate() if t.name.startswith("convscope-decode")]


def test_foreign_errors_come_through_the_thread() -> None:
    def explode(pixels: Pixels) -> np.ndarray:
        raise ZeroDivisionError("a bug")

    for ahead in (False, True):
        with pytest.raises(ZeroDivisionError, match="a bug"):
            list(collection(ahead=ahead).batches(explode, 4))


def test_all_bad_and_unequal_sizes() -> None:
    with pytest.raises(DataError, match="none of the 3 images of set can be used; the first, i0: image 0 is broken; look"):
        list(collection(3, bad=(0, 1, 2)).batches(UNIT, 2))
    unknown = np.array([-1, -1])
    odd = Collection("set", ("a", "b"), unknown, (), lambda i: (np.zeros((2, 2 + i, 3), np.uint8), ()), np.zeros(2))
    with pytest.raises(ShapeError, match=r"one size; a is \(3, 2, 2\), b is \(3, 2, 3\); use a Preprocess with a size"):
        list(odd.batches(UNIT, 2))
    with pytest.raises(UsageError, match="batch_size must be at least 1; got 0; 32 is usual"):
        list(collection().batches(UNIT, 0))


def test_an_image_that_does_not_fit_is_skipped_with_the_reason() -> None:
    found = collection(2)
    with pytest.raises(DataError, match=r"the network reads 1 channels \(1\); the image has 3"):
        list(found.batches(PRESETS["unit"].__class__(channels=1), 2))


def test_split_is_stratified_disjoint_and_seeded() -> None:
    labels = [0] * 50 + [1] * 20 + [2] * 10
    found = collection(80, labels=labels)
    rest, held = found.split(0.2, seed=3)
    assert np.bincount(held.labels).tolist() == [10, 4, 2]
    assert sorted(rest.ids + held.ids) == sorted(found.ids)
    assert held.ids == found.split(0.2, seed=3)[1].ids != found.split(0.2, seed=4)[1].ids
    assert held.ids != found.ids[:10] + found.ids[50:54] + found.ids[70:72]
    assert [int(i[1:]) for i in held.ids] == sorted(int(i[1:]) for i in held.ids)
    assert held[0][0, 0, 0] == int(held.ids[0][1:])
    for share in (0.0, 1.0, 2):
        with pytest.raises(UsageError, match="held_out must be a share between 0 and 1"):
            found.split(share)
    with pytest.raises(UsageError, match=r"cannot hold out 0.2 of 2 images; one part would be empty"):
        collection(2).split()


def test_take_and_find() -> None:
    found = collection(10).take([7, 2])
    assert (found.ids, found[0][0, 0, 0], found[-1][0, 0, 0], found.sizes.tolist()) == (("i7", "i2"), 7, 2, [7, 2])
    assert found.find("i2") == 1
    with pytest.raises(UnknownName, match="no image named 'i22'; closest: 'i2'"):
        found.find("i22")
    with pytest.raises(UsageError, match=r"no image with such a number; asked for 2 … 2 of 2; numbers go from 0 to 1"):
        found.take([2])
    with pytest.raises(IndexError, match="image 2 of 2"):
        found[2]


def test_fingerprint_tells_what_differs() -> None:
    prints = {collection(n, labels=labels).fingerprint for n, labels in ((3, [0, 0, 0]), (3, [0, 0, 1]), (4, [0] * 4))}
    assert len(prints) == 3
    assert collection(3).fingerprint == collection(3, bad=(1,)).fingerprint


def test_what_cannot_be_a_collection() -> None:
    with pytest.raises(DataError, match="no images in set; it is empty; give a folder"):
        collection(0)
    with pytest.raises(ShapeError, match="as many as images; got 1, 2, 1"):
        Collection("set", ("a",), np.zeros(2, np.int64), (), lambda i: (np.zeros((1, 1, 1), np.uint8), ()), np.zeros(1))
    assert collection(2, labels=[0, 2]).classes == ("0", "1", "2")
    assert repr(collection(2, labels=[0, 2])) == "Collection('set': 2 images, 2 labelled, 3 classes)"
