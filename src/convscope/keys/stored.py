"""Keyed images on disk: an `.npz` that shows nothing, with labels, for training.

    permutation, shuffle    'x' uint8 (N, H, W, C): the pixels themselves, moved; any reader of images opens it
    orthogonal              'x' float32 (N, H, W, C): what the network reads, keyed; 'low' and 'high', the range it has

An orthogonal key's values leave 0 … 255, so they are kept as numbers. 'labels', 'classes' and 'ids' as they were: the key
hides pictures only. The same images, keyed, also where a preprocessing was asked for that treats channels differently.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convscope import store
from convscope.collection import Collection
from convscope.errors import DataError, UsageError
from convscope.images import Pixels, Preprocess
from convscope.keys.key import Key

Progress = Callable[[int, int, str], None]
FORMAT = "convscope keyed images 1"
TOGETHER = 256


@dataclass(frozen=True)
class Kept:
    """What was written: how many images, of what type, and their range."""

    path: Path
    count: int
    shape: tuple[int, int, int]  # (H, W, C)
    dtype: str
    low: float
    high: float
    notes: tuple[str, ...]


def keep(key: Key, images: Collection, path: str | Path, preprocess: Preprocess | None = None,
         progress: Progress | None = None) -> Kept:
    """Write a collection keyed. `preprocess`: the network's own; none: pixels, or for orthogonal keys pixels / 255.

    Images that cannot be read are left out and counted. Errors: DataError, ShapeError (they do not fit the key), StoreError.
    """
    path = Path(path)
    if path.suffix != ".npz":
        raise UsageError(f"keyed images are kept as .npz, not {path.name!r}", f"its name ends in {path.suffix or 'nothing'}",
                         "name it so")
    raw = preprocess is None and key.kind != "orthogonal"
    reading = _as_pixels if raw else preprocess or _as_unit
    parts: list[NDArray[np.generic]] = []
    index: list[NDArray[np.int64]] = []
    for batch in images.batches(reading, TOGETHER):
        x = batch.x.numpy()
        parts.append(key(x.astype(np.uint8) if raw else x).transpose(0, 2, 3, 1))
        index.append(batch.index)
        if progress is not None:
            progress(batch.stop, len(images), "keyed")
    x, at = np.concatenate(parts), np.concatenate(index)
    content = io.BytesIO()
    np.savez_compressed(content, format=np.array(FORMAT), x=x, labels=images.labels[at], classes=np.array(images.classes),
                        ids=np.array([images.ids[i] for i in at]),
                        key=np.array(repr(key)), prepared=np.array("" if preprocess is None else preprocess.describe()))
    with store.atomic(path) as file:
        file.write(content.getvalue())
    notes = (*([f"{len(images.skipped)} images could not be read, e.g. {images.skipped[0].id}: {images.skipped[0].reason}"]
               if images.skipped else []), *key.notes)
    h, w, c = x.shape[1:]
    return Kept(path, len(x), (h, w, c), str(x.dtype), float(x.min()), float(x.max()), notes)


def open_keyed(path: str | Path) -> Collection:
    """The stored images as a collection whose `read` gives (H, W, C) as stored; `as_stored` is its preprocessing.

        fit(module, open_keyed("keyed.npz"), None, as_stored)
    """
    path = Path(path)
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as kept:
            if str(kept["format"]) != FORMAT:
                raise ValueError(f"its format is {str(kept['format'])[:40]!r}")
            x, labels, classes, ids = (kept[name] for name in ("x", "labels", "classes", "ids"))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"cannot read {path} as keyed images", f"{type(error).__name__}: {error}",
                        "`convscope key apply` writes them") from error
    sizes = np.full(len(x), x[:1].nbytes, np.int64)
    return Collection(path.stem, tuple(str(i) for i in ids), labels, tuple(str(c) for c in classes),
                      lambda i: (x[i], ()), sizes, notes=(f"keyed images, {x.dtype}, {x.min():g} … {x.max():g}",))


def restore(key: Key, path: str | Path, out: str | Path) -> int:
    """Undo the key on stored images: the same file with plain images, uint8 where no preprocessing went before. How many."""
    path, out = Path(path), Path(out)
    found = open_keyed(path)
    with np.load(path, allow_pickle=False) as kept:
        members = {name: kept[name] for name in kept.files}
    if str(members["key"]) != repr(key):
        raise UsageError(f"{path} was not keyed with this key", f"it names {members['key']}, this is {key!r}",
                         "give the file of that key")
    x = key.undo(np.ascontiguousarray(members["x"].transpose(0, 3, 1, 2))).transpose(0, 2, 3, 1)
    if x.dtype != np.uint8 and not str(members["prepared"]):
        x = np.rint(255 * np.clip(x, 0, 1)).astype(np.uint8)
    content = io.BytesIO()
    np.savez_compressed(content, x=x, **{name: members[name] for name in ("labels", "classes", "ids")})
    with store.atomic(out) as file:
        file.write(content.getvalue())
    return len(found)


def as_stored(image: NDArray[np.generic]) -> NDArray[np.float32]:
    """(H, W, C) as stored → float32 (C, H, W): pixels over 255, other numbers as they are."""
    x = image.transpose(2, 0, 1).astype(np.float32)
    return np.ascontiguousarray(x / np.float32(255) if image.dtype == np.uint8 else x)


def _as_pixels(image: Pixels) -> NDArray[np.float32]:
    return np.ascontiguousarray(image.transpose(2, 0, 1)).astype(np.float32)


def _as_unit(image: Pixels) -> NDArray[np.float32]:
    return _as_pixels(image) / np.float32(255)
