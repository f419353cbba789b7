"""Readers of NumPy archives, IDX and CIFAR-10 files, on files written here byte by byte.

Mutations that turn this red (each tried): little-endian sizes in `_idx` · (32, 32, 3) for (3, 32, 32) in `read_cifar` ·
`whole = count` · no check of the labels' count · allow_pickle=True · rounding -> truncation in `to_uint8` ·
`high <= 1` -> `high < 1`.
"""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from convscope.archives import CIFAR10, as_images, read_archive, read_idx, to_uint8
from convscope.data import open_collection
from convscope.errors import DataError

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (7, 5, 6)).astype(np.uint8)
LABELS = np.array([3, 1, 4, 1, 5, 9, 2])


def idx(array: np.ndarray) -> bytes:
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes()


def cifar(n: int) -> tuple[bytes, np.ndarray, np.ndarray]:
    images, labels = RNG.integers(0, 256, (n, 32, 32, 3)).astype(np.uint8), RNG.integers(0, 10, n)
    records = [bytes([k]) + image.transpose(2, 0, 1).tobytes() for k, image in zip(labels, images, strict=True)]
    return b"".join(records), images, labels


@pytest.mark.parametrize(("name", "other"), [
    ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"), ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
    ("train-images.idx3-ubyte", "train-labels.idx1-ubyte.gz"),
])
def test_idx_finds_its_labels(tmp_path: Path, name: str, other: str) -> None:
    for file, array in ((name, IMAGES), (other, LABELS)):
        data = idx(array)
        (tmp_path / file).write_bytes(gzip.compress(data) if file.endswith(".gz") else data)
    for source in (tmp_path / name, tmp_path):
        found = open_collection(source)
        assert (len(found), found.skipped, found.notes) == (7, [], ())
        np.testing.assert_array_equal(found.labels, LABELS)
        np.testing.assert_array_equal(np.stack([found[i] for i in range(7)]), IMAGES[..., None])
        assert found.ids[6] == name.split(".")[0] + "/0006"
        assert found.classes == tuple("0123456789")


def test_idx_cut_short(tmp_path: Path) -> None:
    data = idx(IMAGES)
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(data[:-31])  # a little more than one image of 30
    found = open_collection(path)
    assert len(found) == 5
    assert found.skipped[0].id == path.name
    assert found.skipped[0].reason == "cut short: 5 of 7 images are whole"
    assert found.notes == ("no labels: no file train-labels-idx1-ubyte",)
    packed = tmp_path / "t10k-images-idx3-ubyte.gz"
    packed.write_bytes(gzip.compress(idx(RNG.integers(0, 256, (50, 30, 40)).astype(np.uint8)))[:-5000])
    found = open_collection(packed)
    assert 0 < len(found) < 50
    assert "of 50 images are whole" in found.skipped[0].reason
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(np.zeros(50))[:20])
    found = open_collection(packed)
    assert (found.labels >= 0).sum() == 12
    assert found.skipped[1].reason == "cut short: 12 of 50 labels are whole"


def test_idx_that_makes_no_sense(tmp_path: Path) -> None:
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(idx(IMAGES))
    labels = tmp_path / "train-labels-idx1-ubyte"
    labels.write_bytes(idx(LABELS[:6]))
    with pytest.raises(DataError, match=r"does not belong to .*; 6 labels, 7 images; put the right pair"):
        open_collection(path)
    with pytest.raises(DataError, match=r"holds no images; it has 1 axis \(labels\?\); open the file of images"):
        open_collection(labels)
    huge = bytes([0, 0, 8, 3]) + struct.pack(">3I", 2**31, 2**31, 2**31)
    for content in (huge, idx(np.zeros((3, 0, 2))), idx(IMAGES)[:30]):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"nothing in .*none is whole; get the file again"):
            open_collection(path)
    path.write_bytes(bytes([0, 0, 13, 3]) + bytes(40))
    with pytest.raises(DataError, match="not an IDX file of bytes; it begins with 00 00 0d 03"):
        read_idx(path)
    path.with_suffix(".gz").write_bytes(b"no gzip at all")
    with pytest.raises(DataError, match=r"cannot unpack .*incorrect header check; get the file again"):
        open_collection(path.with_suffix(".gz"))


def test_parts_of_a_folder(tmp_path: Path) -> None:
    for part, n in (("train", 7), ("t10k", 3)):
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(idx(IMAGES[:n]))
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(idx(LABELS[:n]))
    with pytest.raises(DataError, match="holds several parts; found train, test; choose part='train' or part='test'"):
        open_collection(tmp_path)
    assert len(open_collection(tmp_path, part="train")) == 7
    assert len(open_collection(tmp_path, part="test")) == 3
    (tmp_path / "train-images-idx3-ubyte").unlink()
    with pytest.raises(DataError, match=r"no part 'train' in .*; there is test"):
        open_collection(tmp_path, part="train")
    (tmp_path / "t10k-extra-images-idx3-ubyte").write_bytes(idx(IMAGES))
    with pytest.raises(DataError, match="holds several files of images"):
        open_collection(tmp_path)


def test_cifar(tmp_path: Path) -> None:
    images, labels = [], []
    for k in (2, 1):
        data, x, y = cifar(4)
        (tmp_path / f"data_batch_{k}.bin").write_bytes(data)
        images, labels = [x, *images], [y, *labels]
    found = open_collection(tmp_path)
    np.testing.assert_array_equal(np.stack([found[i] for i in range(8)]), np.concatenate(images))
    np.testing.assert_array_equal(found.labels, np.concatenate(labels))
    assert found.classes == CIFAR10
    assert found.ids[:1] + found.ids[-1:] == ("data_batch_1/0000", "data_batch_2/0003")
    (tmp_path / "batches.meta.txt").write_text("\n".join("abcdefghij") + "\n\n")
    (tmp_path / "test_batch.bin").write_bytes(cifar(2)[0])
    with pytest.raises(DataError, match="several parts"):
        open_collection(tmp_path)
    assert len(open_collection(tmp_path, part="train")) == 8
    test = open_collection(tmp_path, part="test")
    assert (len(test), test.classes) == (2, tuple("abcdefghij"))


def test_cifar_cut_short_or_something_else(tmp_path: Path) -> None:
    path = tmp_path / "data_batch_1.bin"
    path.write_bytes(cifar(3)[0][:-1])
    found = open_collection(path)
    assert len(found) == 2
    assert found.skipped[0].reason == "cut short: 2 images are whole, the last has 3072 of 3073 bytes"
    for content in (b"\x0b" * 3073, b"short"):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"no CIFAR-10 batch; .* bytes, not records of 3073"):
            open_collection(path)


def test_npz(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, x=IMAGES, y=LABELS, classes=np.array(list("abcdefghij")))
    found = open_collection(path)
    np.testing.assert_array_equal(found[3], IMAGES[3][..., None])
    np.testing.assert_array_equal(found.labels, LABELS)
    assert (found.classes, found.notes, found.ids[0]) == (tuple("abcdefghij"), (), "a/0000")
    np.savez(path, images=IMAGES[:, None] / 255.0)
    found = open_collection(path)
    np.testing.assert_array_equal(found[3], IMAGES[3][..., None])
    assert found.notes == ("read as (N, C, H, W) with C = 1", "float64 read as 0 … 1, rounded to 8 bits",
                           "no labels: none of y, Y, labels, label, targets")
    np.savez(path, x_train=IMAGES, y_train=LABELS, x_test=IMAGES[:2], y_test=LABELS[:2])
    assert len(open_collection(path, part="test")) == 2
    np.testing.assert_array_equal(open_collection(path, part="train").labels, LABELS)
    with pytest.raises(DataError, match="holds several parts; found train, test"):
        open_collection(path)


def test_npz_that_makes_no_sense(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, z=IMAGES)
    with pytest.raises(DataError, match=r"no images in .*; it holds z; name the array x or X or images"):
        open_collection(path)
    np.savez(path, x=IMAGES, y=LABELS[:3])
    with pytest.raises(DataError, match=r"labels of .* must be integers, one an image; 7 images, labels int64 \(3,\)"):
        open_collection(path)
    np.savez(path, x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match=r"cannot read .*allow_pickle=False"):
        open_collection(path)
    np.savez(path, x=IMAGES)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match=r"cannot read .*a.npz; BadZipFile"):
        open_collection(path)
    np.savez(path, x=np.zeros((0, 3, 3), np.uint8))
    with pytest.raises(DataError, match=r"no images in a.npz; it is empty"):
        open_collection(path)


def test_what_numbers_mean() -> None:
    np.testing.assert_array_equal(to_uint8(np.array([0.0, 0.5, 1.0]))[0], [0, 128, 255])
    np.testing.assert_array_equal(to_uint8(np.array([0.0, 0.5, 1.0]), white=255.0)[0], [0, 0, 1])
    np.testing.assert_array_equal(to_uint8(np.array([0.0, 254.6]))[0], [0, 255])
    np.testing.assert_array_equal(to_uint8(np.array([True, False]))[0], [255, 0])
    assert to_uint8(np.array([7], np.int64)) == (np.array([7]), ("int64 read as 0 … 255",))
    for values, message in (([-0.1], r"pixels must be in 0 … 1; found -0.1"), ([256.0], "in 0 … 255; found 256"),
                            ([np.nan], "before normalisation"), ([300], "whole-number pixels must be in 0 … 255"),
                            ([1j], "images must be numbers")):
        with pytest.raises(DataError, match=message):
            to_uint8(np.array(values))
    with pytest.raises(DataError, match=r"images must have shape .*; got \(3,\)"):
        as_images(np.zeros(3, np.uint8))


def test_other_files_are_not_taken(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("words")
    assert read_archive(tmp_path / "a.txt") is None
    assert read_archive(tmp_path) is None
