"""Files that hold many images: NumPy archives, MNIST-type IDX, CIFAR-10 binary batches. NumPy in, NumPy out.

    .npz   arrays by name: images 'x' or 'images', labels 'y' or 'labels', class names 'classes'; .npy: one array of images
    IDX    two zero bytes, type (8 = uint8), number of axes, each size as a big-endian 32-bit integer, then the bytes
           (LeCun, Cortes, Burges 1998, the MNIST database); '….gz' too; images and labels in two files paired by name
    CIFAR  records of 1 label byte and 3,072 pixel bytes: 32×32 red, green, blue planes (Krizhevsky 2009)

A file cut short gives the images that are whole, and says how many are missing.
"""

from __future__ import annotations

import re
import struct
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convscope.errors import DataError

IMAGE_KEYS = ("x", "X", "images", "data", "image")
LABEL_KEYS = ("y", "Y", "labels", "label", "targets")
CLASS_KEYS = ("classes", "class_names")
PARTS = {"train": ("train", "data_batch"), "test": ("test", "t10k")}
RECORD = 1 + 3 * 32 * 32
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@dataclass(frozen=True)
class Archive:
    """Images (N, H, W, C) uint8, labels (N,) int64 with −1 for unknown, what the images are called, what was noticed."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    ids: tuple[str, ...]
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    missing: tuple[tuple[str, str], ...] = field(default=())  # (what, reason) for images that the file should hold


def read_archive(path: Path, part: str | None = None, white: float | None = None) -> Archive | None:
    """Read a file or folder of one of these formats; None if it is none of them. `part` is 'train' or 'test'."""
    if path.is_dir():
        batches = [p for p in sorted(path.glob("*.bin")) if _is_cifar(p)]
        if batches:
            return read_cifar(_choose(path, batches, part, several=True))
        tables = [p for p in sorted(path.iterdir()) if p.is_file() and re.search(r"images.*idx\d|idx\d.*images", p.name)]
        return read_idx(_choose(path, tables, part)[0]) if tables else None
    if path.suffix == ".npz":
        return read_npz(path, part, white)
    if path.suffix == ".npy":
        return read_npy(path, white)
    if path.suffix == ".bin":
        return read_cifar([path])
    return read_idx(path) if _idx_axes(path) else None


def _choose(folder: Path, found: list[Path], part: str | None, several: bool = False) -> list[Path]:
    """The files of a part; all of one part if there is only one."""
    parts = {name: [p for p in found if p.name.startswith(starts)] for name, starts in PARTS.items()}
    parts = {name: files for name, files in parts.items() if files}
    if part is not None:
        if part not in parts:
            raise DataError(f"no part {part!r} in {folder}", f"there is {', '.join(parts) or 'none with such a name'}",
                            "leave `part` out or name a file")
        found = parts[part]
    elif len(parts) > 1:
        raise DataError(f"{folder} holds several parts", f"found {', '.join(parts)}", "choose part='train' or part='test'")
    if len(found) > 1 and not several:
        raise DataError(f"{folder} holds several files of images", ", ".join(p.name for p in found), "name one of them")
    return found


def read_npz(path: Path, part: str | None = None, white: float | None = None) -> Archive:
    """Images and labels of a NumPy archive. Nothing that needs pickle is read."""
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            image_key = _key(path, file.files, IMAGE_KEYS, part)
            label_key = _key(path, file.files, LABEL_KEYS, part, image_key)
            names = next((file[k] for k in CLASS_KEYS if k in file.files), None)
            assert image_key is not None
            images, labels = file[image_key], None if label_key is None else file[label_key]
    except (OSError, ValueError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise DataError(f"cannot read {path}", f"{type(error).__name__}: {error}",
                        "save it again with np.savez(path, x=images, y=labels)") from error
    pixels, notes = as_images(images, white)
    n = len(pixels)
    if labels is not None and (labels.shape not in ((n,), (n, 1)) or labels.dtype.kind not in "iu"):
        found = f"{n} images, labels {labels.dtype} {labels.shape}"
        raise DataError(f"labels of {path} must be integers, one an image", found,
                        "save them as an int64 array of shape (N,)")
    known = np.full(n, -1, np.int64) if labels is None else labels.reshape(-1).astype(np.int64)
    notes += () if label_key else (f"no labels: none of {', '.join(LABEL_KEYS)}",)
    return Archive(pixels, known, _ids(path.stem, n), () if names is None else tuple(str(c) for c in names.ravel()), notes)


def read_npy(path: Path, white: float | None = None) -> Archive:
    """One NumPy array of images, without labels."""
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"cannot read {path}", str(error), "save it again with np.save") from error
    pixels, notes = as_images(values, white)
    return Archive(pixels, np.full(len(pixels), -1, np.int64), _ids(path.stem, len(pixels)), (), notes)


def _key(path: Path, found: list[str], wanted: tuple[str, ...], part: str | None,
         image_key: str | None = None) -> str | None:
    """The name of an array: 'x', or with a part 'x_train'. Labels go with their images."""
    if image_key is not None:
        part = next((p for p in PARTS if image_key.endswith(f"_{p}")), None)
        names = [f"{k}_{part}" if part else k for k in wanted]
        return next((k for k in names if k in found), None)
    plain = [k for k in wanted if k in found]
    parts = {p: [f"{k}_{p}" for k in wanted if f"{k}_{p}" in found] for p in PARTS}
    parts = {p: keys for p, keys in parts.items() if keys}
    if part in parts:
        return parts[part][0]
    if part is None and plain:
        return plain[0]
    if part is None and len(parts) == 1:
        return next(iter(parts.values()))[0]
    if part is None and parts:
        raise DataError(f"{path} holds several parts", f"found {', '.join(parts)}", "choose part='train' or part='test'")
    raise DataError(f"no images in {path}", f"it holds {', '.join(found) or 'nothing'}",
                    f"name the array {' or '.join(wanted[:3])}" + (f", with _{part}" if part else ""))


def as_images(values: NDArray[Any], white: float | None = None) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """(N, H, W), (N, H, W, C) or (N, C, H, W) of any number type → uint8 (N, H, W, C), and what was assumed."""
    notes: list[str] = []
    if values.ndim == 3:
        values = values[..., None]
    if values.ndim != 4 or 0 in values.shape[1:]:
        raise DataError("images must have shape (N, H, W), (N, H, W, C) or (N, C, H, W)", f"got {values.shape}",
                        "reshape the array")
    if values.shape[-1] not in (1, 3, 4) and values.shape[1] in (1, 3, 4):
        values = values.transpose(0, 2, 3, 1)
        notes.append(f"read as (N, C, H, W) with C = {values.shape[-1]}")
    pixels, more = to_uint8(values, white)
    return np.ascontiguousarray(pixels), (*notes, *more)


def to_uint8(values: NDArray[Any], white: float | None = None) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Numbers of any type → uint8. `white` (1 or 255) says what white is among floats; None: told by the largest; noted."""
    if values.dtype == np.uint8:
        return values, ()
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * np.uint8(255), ("true and false became 255 and 0",)
    if values.dtype.kind not in "iuf" or values.size == 0:
        raise DataError("images must be numbers", f"got {values.dtype} of shape {values.shape}",
                        "give uint8, or floats 0 … 1")
    low, high = float(values.min()), float(values.max())
    if values.dtype.kind in "iu":
        if low < 0 or high > 255:
            raise DataError("whole-number pixels must be in 0 … 255", f"found {low:g} … {high:g}", "scale them to uint8")
        return values.astype(np.uint8), (f"{values.dtype} read as 0 … 255",)
    told = white or (1.0 if high <= 1 else 255.0)
    if not (np.isfinite(low) and np.isfinite(high)) or low < 0 or high > told:
        raise DataError(f"pixels must be in 0 … {told:g}", f"found {low:g} … {high:g}", "give images before normalisation")
    return np.rint(values * (255 / told)).astype(np.uint8), (f"{values.dtype} read as 0 … {told:g}, rounded to 8 bits",)


def read_idx(path: Path) -> Archive:
    """An IDX file of images, with the labels beside it."""
    images, expected = _idx(path)
    if images.ndim not in (3, 4):
        raise DataError(f"{path.name} holds no images", f"it has {images.ndim} axis (labels?)", "open the file of images")
    images = images if images.ndim == 4 else images[..., None]
    n = len(images)
    missing = () if n == expected else ((path.name, f"cut short: {n} of {expected} images are whole"),)
    beside = next((p for p in _label_files(path) if p.is_file()), None)
    labels, notes = np.full(n, -1, np.int64), (f"no labels: no file {_label_files(path)[0].name}",)
    if beside is not None:
        found, count = _idx(beside)
        if found.ndim != 1 or count != expected:
            raise DataError(f"{beside.name} does not belong to {path.name}", f"{count} labels, {expected} images",
                            "put the right pair side by side")
        k = min(n, len(found))
        labels[:k], notes = found[:k], ()
        if len(found) < count:
            missing += ((beside.name, f"cut short: {len(found)} of {count} labels are whole"),)
    return Archive(images, labels, _ids(path.name.split(".")[0], n), (), notes, missing)


def _label_files(path: Path) -> list[Path]:
    name = re.sub(r"idx\d", "idx1", path.name.replace("images", "labels"))
    bare = name.removesuffix(".gz")
    return [path.with_name(n) for n in dict.fromkeys((name, bare, bare + ".gz"))]


def _idx_axes(path: Path) -> int:
    """The number of axes if this is an IDX file of bytes, else 0."""
    head = _bytes(path, 4)
    return head[3] if len(head) == 4 and head[:3] == b"\0\0\x08" and 1 <= head[3] <= 4 else 0


def _idx(path: Path) -> tuple[NDArray[np.uint8], int]:
    """The items that are whole, and how many the header promises."""
    axes = _idx_axes(path)
    data = _bytes(path)
    if not axes or len(data) < 4 + 4 * axes:
        raise DataError(f"{path} is not an IDX file of bytes", f"it begins with {data[:4].hex(' ') or 'nothing'}",
                        "wanted 00 00 08 and the number of axes")
    count, *shape = struct.unpack(f">{axes}I", data[4 : 4 + 4 * axes])
    size = int(np.prod(shape, dtype=object)) if shape else 1
    whole = 0 if size == 0 else min(count, (len(data) - 4 - 4 * axes) // size)
    if whole == 0:
        raise DataError(f"nothing in {path}", f"it promises {count} items of {size} bytes, none is whole",
                        "get the file again")
    return np.frombuffer(data, np.uint8, whole * size, 4 + 4 * axes).reshape(whole, *shape), count


def _bytes(path: Path, count: int | None = None) -> bytes:
    """The (first `count`) bytes of a file, unpacked; of a gzip stream that was cut, all that can be had.

    The caller sees that items are missing and reports how many.
    """
    with path.open("rb") as file:
        if path.suffix != ".gz":
            return file.read(-1 if count is None else count)
        packed = file.read(-1 if count is None else 1 << 16)
    out = b""
    try:
        while packed and (count is None or len(out) < count):  # a gzip file may be several streams
            stream = zlib.decompressobj(wbits=31)
            out += stream.decompress(packed, 0 if count is None else count)
            packed = stream.unused_data
    except zlib.error as error:
        raise DataError(f"cannot unpack {path}", str(error), "get the file again") from error
    return out[:count]


def _is_cifar(path: Path) -> bool:
    return path.name.startswith(("data_batch", "test_batch"))


def read_cifar(paths: list[Path]) -> Archive:
    """CIFAR-10 binary batches, one after the other."""
    images, labels, ids, missing = [], [], [], []
    for path in paths:
        data = np.fromfile(path, np.uint8)
        n, rest = divmod(len(data), RECORD)
        records = data[: n * RECORD].reshape(n, RECORD)
        if n == 0 or records[:, 0].max() > 9:
            found = f"{len(data)} bytes, not records of {RECORD} with a label 0 … 9 first"
            raise DataError(f"{path} is no CIFAR-10 batch", found,
                            "CIFAR-10's binary version has data_batch_1.bin … test_batch.bin")
        if rest:
            missing.append((path.name, f"cut short: {n} images are whole, the last has {rest} of {RECORD} bytes"))
        labels.append(records[:, 0].astype(np.int64))
        images.append(records[:, 1:].reshape(n, 3, 32, 32).transpose(0, 2, 3, 1))
        ids += _ids(path.stem, n)
    meta = paths[0].with_name("batches.meta.txt")
    classes = tuple(meta.read_text(encoding="utf-8").split()) if meta.is_file() else CIFAR10
    return Archive(np.concatenate(images), np.concatenate(labels), tuple(ids), classes, (), tuple(missing))


def _ids(name: str, n: int) -> tuple[str, ...]:
    return tuple(f"{name}/{i:0{max(4, len(str(n - 1)))}d}" for i in range(n))
