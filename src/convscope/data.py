"""Where images come from: built-in real sets, folders, archives, any dataset -> one `Collection`.

Ids are stable: the path below the folder with '/', or the name of the set and a number ('digits/0042'). The order is that of
the sorted ids. What was assumed stands in `Collection.notes`, what is missing or fails in `Collection.skipped`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib.util
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from convscope import chance
from convscope.archives import Archive, as_images, read_archive, to_uint8
from convscope.collection import Batch, Collection, Skipped
from convscope.errors import DataError, UsageError
from convscope.images import pixels_of, read_image

__all__ = ["BUILT_IN", "Batch", "Collection", "Skipped", "open_collection"]

SUFFIXES = {".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
PHOTOS = ("astronaut.png", "brick.png", "camera.png", "cell.png", "chelsea.png", "clock_motion.png", "coffee.png",
          "coins.png", "grass.png", "gravel.png", "hubble_deep_field.jpg", "ihc.png", "microaneurysms.png", "moon.png",
          "motorcycle_left.png", "page.png", "retina.jpg", "rocket.jpg", "text.png")


def open_collection(source: Any, *, part: str | None = None, white: float | None = None, name: str = "") -> Collection:
    """Open a collection of images. `source` is one of

    - `digits`, `faces`, `photos`: real images that come with scikit-learn and scikit-image (a folder so called: `./digits`);
      `planted`: made ones whose evidence is known;
    - a folder of class folders (classes sorted by name), a flat folder, one image file;
    - `.npz`, `.npy`, MNIST-type IDX, CIFAR-10 binary batches; `part` = 'train' or 'test' where both are there;
    - any iterable or dataset of `(image, label)`; `white` = 1 or 255 says what white is among floats.

    Errors: DataError (nothing there that can be read), UsageError (arguments). One bad image among others is no error: it
    gets into `skipped` when it is reached.

    >>> digits = open_collection("digits")
    >>> len(digits), digits[42].shape, digits.ids[42], digits.labels[42].item()
    (1797, (8, 8, 1), 'digits/0042', 1)
    """
    if part not in (None, "train", "test"):
        raise UsageError("part must be 'train' or 'test'", f"got {part!r}", "leave it out to take all there is")
    if white not in (None, 1, 255):
        raise UsageError("white must be 1 or 255", f"got {white!r}", "it says what white is among floating-point pixels")
    if isinstance(source, Collection):
        found = dataclasses.replace(source)
    elif isinstance(source, str) and source in BUILT_IN:
        found = BUILT_IN[source]()
    elif isinstance(source, (str, Path)):
        found = _from_path(Path(source).expanduser(), part, white)
    elif isinstance(source, Iterable) or (hasattr(source, "__getitem__") and hasattr(source, "__len__")):
        found = _from_dataset(source, white)
    else:
        raise UsageError("cannot open this as a collection of images", f"got {type(source).__name__}",
                         "give a name, a path, or an iterable of (image, label)")
    if name:
        found.name = name
    return found


def _in_memory(name: str, archive: Archive) -> Collection:
    """A collection whose pixels are one array."""
    images = archive.images
    missing = tuple(Skipped(*m) for m in archive.missing)
    content = hashlib.sha256(str(images.shape).encode() + images.tobytes()).hexdigest()
    sizes = np.full(len(images), images[:1].nbytes, np.int64)
    return Collection(name, archive.ids, archive.labels, archive.classes, lambda i: (images[i], ()), sizes, content,
                      archive.notes, False, missing)


def digits() -> Collection:
    """scikit-learn's 1,797 real handwritten digits, 8×8, 0 … 16 spread over 0 … 255 (Alpaydin and Kaynak 1998).

    v = round(p · 16/255) gives the levels back.
    """
    with chance.kept():
        from sklearn.datasets import load_digits

    loaded: Any = load_digits()
    pixels = np.rint(loaded.images * (255 / 16)).astype(np.uint8)[..., None]
    ids = tuple(f"digits/{i:04d}" for i in range(len(pixels)))
    return _in_memory("digits", Archive(pixels, loaded.target.astype(np.int64), ids, tuple("0123456789"), (
        "0 … 16 spread over 0 … 255",)))


def faces() -> Collection:
    """100 faces and 100 patches without one, 25×25 grey: scikit-image's `lfw_subset`.

    Source: Huang, Ramesh, Berg, Learned-Miller 2007, "Labeled Faces in the Wild".
    """
    file = _skimage_data() / "lfw_subset.npy"
    if not file.is_file():
        raise DataError("this scikit-image has no `lfw_subset`", f"no file {file.name}", "install another version of it")
    pixels, notes = as_images(np.load(file, allow_pickle=False))
    labels = np.repeat(np.array([1, 0], np.int64), 100)
    ids = tuple(f"faces/{i:04d}" for i in range(len(pixels)))
    return _in_memory("faces", Archive(pixels, labels, ids, ("no face", "face"), notes))


def photos() -> Collection:
    """The photographs that come with scikit-image itself, colour and grey, of many sizes; without labels."""
    folder = _skimage_data()
    there = [n for n in PHOTOS if (folder / n).is_file()]
    gone = tuple(Skipped(f"photos/{n}", "this version of scikit-image does not bring it") for n in PHOTOS if n not in there)
    return _from_files("photos", [(f"photos/{n}", folder / n, -1) for n in there], (), (), gone)


def _skimage_data() -> Path:
    found = importlib.util.find_spec("skimage")  # finding it costs nothing, importing it a second
    if found is None or not found.submodule_search_locations:
        raise DataError("these images come with scikit-image", "it is not installed", "pip install 'convscope[photos]'")
    return Path(next(iter(found.submodule_search_locations))) / "data"


def planted() -> Collection:
    """1,200 made images, 32×32 grey, whose class is decided by a small patch alone (see `convscope.planted`)."""
    from convscope import planted as made

    found = made.plant()
    ids = tuple(f"planted/{i:04d}" for i in range(len(found.pixels)))
    return _in_memory("planted", Archive(found.pixels, found.labels, ids, made.CLASSES, ("made, not photographed",)))


BUILT_IN = {"digits": digits, "faces": faces, "photos": photos, "planted": planted}


def _from_path(path: Path, part: str | None, white: float | None) -> Collection:
    if not path.exists():
        raise DataError(f"no images at {path}", "there is no such file or folder", f"built in are {', '.join(BUILT_IN)}")
    if path.is_file() and path.stat().st_size == 0:
        raise DataError(f"cannot read {path}", "the file is empty (0 bytes)", "restore it")
    name = path.resolve().name
    if path.is_file() and path.suffix.lower() in SUFFIXES:
        return _from_files(name, [(path.name, path, -1)], (), ())
    archive = read_archive(path, part, white)
    if archive is not None:
        return _in_memory(name, archive)
    if path.is_dir():
        return _from_folder(name, path / part if part else path)
    raise DataError(f"cannot read {path} as images", f"its name ends in {path.suffix or 'nothing'}",
                    f"known are {' '.join(sorted(SUFFIXES))} .npz .npy .bin IDX, and folders")


def _from_folder(name: str, folder: Path) -> Collection:
    """Class folders if images lie only in subfolders, else a flat collection without labels."""
    if not folder.is_dir():
        raise DataError(f"no folder {folder}", f"{folder.parent} has no such part", "leave `part` out")
    images, passed, closed = _walk(folder)
    tops = sorted({i.split("/", 1)[0] for i in images if "/" in i})
    notes: list[str] = []
    if passed:
        suffixes = Counter(Path(p).suffix or "none" for p in passed)
        kinds = ", ".join(f"{n} × {suffix}" for suffix, n in sorted(suffixes.items()))
        notes.append(f"{len(passed)} files that are no images by their names were passed over ({kinds}), "
                     f"e.g. {_printable(passed[0])}")
    if any("/" not in i for i in images):
        notes += [f"images lie in the folder itself and in {len(tops)} subfolders: no classes"] if tops else []
        tops = []
    if set(tops) & {"train", "test", "val", "valid", "validation"}:
        raise DataError(f"{folder} holds several parts", f"found {', '.join(tops)}", "open one of these folders")
    number = {top: k for k, top in enumerate(tops)}
    files = [(_printable(i), folder / i, number.get(i.split("/", 1)[0], -1)) for i in images]
    return _from_files(name, files, tuple(_printable(t) for t in tops), tuple(notes), closed)


def _walk(folder: Path) -> tuple[list[str], list[str], tuple[Skipped, ...]]:
    """Relative paths of images and of other files, sorted, and folders that do not open. Hidden ones are left out.

    Links are followed, but never to a folder that we are in: so loops end.
    """
    images: list[str] = []
    passed: list[str] = []
    closed: list[Skipped] = []

    def refused(error: OSError) -> None:
        closed.append(Skipped(str(error.filename), f"the folder does not open: {error.strerror}"))

    for at, folders, files in os.walk(folder, onerror=refused, followlinks=True):
        above = {p.resolve() for p in (Path(at), *Path(at).parents)}
        folders[:] = sorted(f for f in folders if not f.startswith(".") and (Path(at) / f).resolve() not in above)
        for file in files:
            path = Path(at) / file
            if not file.startswith("."):
                (images if path.suffix.lower() in SUFFIXES else passed).append(path.relative_to(folder).as_posix())
    return sorted(images), sorted(passed), tuple(closed)


def _printable(name: str) -> str:
    """A file name that is no valid UTF-8, with its odd bytes written out."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _from_files(name: str, files: list[tuple[str, Path, int]], classes: tuple[str, ...], notes: tuple[str, ...],
                missing: tuple[Skipped, ...] = ()) -> Collection:
    """A collection of image files: (id, path, label) each, decoded when asked for."""
    paths = [path for _, path, _ in files]
    sizes = np.array([path.stat().st_size if path.is_file() else 0 for path in paths], np.int64)
    labels = np.array([label for _, _, label in files], np.int64)
    return Collection(name, tuple(i for i, _, _ in files), labels, classes, lambda i: read_image(paths[i]), sizes, "", notes,
                      True, missing)


def _from_dataset(source: Any, white: float | None) -> Collection:
    """Anything that yields (image, label) pairs or bare images; what cannot be indexed is read into memory."""
    name = type(source).__name__
    notes: list[str] = []
    given = getattr(source, "classes", None)
    if not (hasattr(source, "__getitem__") and hasattr(source, "__len__")) or isinstance(source, Mapping):
        source = list(source)
        notes.append(f"{len(source)} items were read into memory")
    n = len(source)
    declared = getattr(source, "targets", getattr(source, "labels", None))
    if declared is not None and len(declared) == n:
        told = [_label(v) for v in (declared.tolist() if hasattr(declared, "tolist") else declared)]
    else:
        told = [_label(pair[1]) if (pair := _item(source, i)) else -1 for i in range(n)]
        notes.append("labels were found in a first pass over all items")
    words = sorted({v for v in told if isinstance(v, str)})
    classes = tuple(str(c) for c in given) if isinstance(given, (list, tuple)) else tuple(words)
    number = {c: k for k, c in enumerate(classes)}
    if any(w not in number for w in words):
        raise DataError("labels that are not among the classes", ", ".join(w for w in words if w not in number)[:200],
                        "give labels as numbers, or classes that name them all")
    labels = np.array([number[v] if isinstance(v, str) else v for v in told], np.int64)
    for i in range(n):
        pair = _item(source, i)
        with contextlib.suppress(DataError):  # an item that cannot be read says nothing; it is named when its turn comes
            if pair is not None:
                white, remarks = _assume(pair[0], white)
                notes += remarks
                break

    def read(i: int) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
        pair = _item(source, i, quiet=False)
        assert pair is not None
        return _pixels(pair[0], white)[0], ()  # what was assumed of all of them is in the notes

    ids = tuple(f"{name}/{i:0{max(4, len(str(n - 1)))}d}" for i in range(n))
    return Collection(name, ids, labels, classes, read, np.full(n, -1, np.int64), "", tuple(notes))


def _item(source: Any, i: int, quiet: bool = True) -> tuple[Any, Any] | None:
    """(image, label) of an item; DataError if the dataset fails on it (None if `quiet`: it fails again when it is read)."""
    try:
        item = source[i]
    except Exception as error:  # a dataset is foreign code: whatever it raises is the reason that gets into `skipped`
        if quiet:
            return None
        raise DataError(f"the dataset fails on item {i}", f"{type(error).__name__}: {error}",
                        "mend it or leave it out") from error
    if isinstance(item, (tuple, list)) and len(item) >= 2:
        return item[0], item[1]
    if isinstance(item, Mapping) and "image" in item:
        return item["image"], item.get("label")
    return (item[0] if isinstance(item, (tuple, list)) and item else item), None


def _label(value: Any) -> int | str:
    if value is None:
        return -1
    if isinstance(value, str):
        return value
    array = np.asarray(value)
    if array.size != 1 or array.dtype.kind not in "iub":
        raise DataError("a label must be one whole number, a word or None", f"got {array.dtype} of shape {array.shape}",
                        "give the number of the class; for one-hot vectors their argmax")
    return int(array.reshape(()))


def _assume(image: Any, white: float | None) -> tuple[float | None, list[str]]:
    """What the first image says of all: the range of floats, and the order of axes."""
    if isinstance(image, Image.Image):
        return white, []
    array = np.asarray(image)
    if white is None and array.dtype.kind == "f" and array.size:
        white = 1.0 if array.max() <= 1 else 255.0
    pixels, remarks = _pixels(image, white)
    return white, [f"images {array.shape} {array.dtype} read as (H, W, C) = {pixels.shape}", *remarks]


def _pixels(image: Any, white: float | None) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """A PIL image, an array (H, W), (H, W, C) or (C, H, W), a tensor (C, H, W) or (H, W, C) → uint8 (H, W, C)."""
    if isinstance(image, Image.Image):
        return pixels_of(image)
    array = image.detach().cpu().numpy() if isinstance(image, torch.Tensor) else np.asarray(image)
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or 0 in array.shape:
        raise DataError("an image must have shape (H, W), (H, W, C) or (C, H, W)", f"got {array.shape}", "reshape it")
    # Tensors have channels first by custom, arrays last; one axis of 1, 3 or 4 decides where only one has that length.
    first, last = (array.shape[k] in (1, 3, 4) for k in (0, 2))
    if (first and not last) or (isinstance(image, torch.Tensor) and first == last):
        array = array.transpose(1, 2, 0)
    pixels, remarks = to_uint8(array, white)
    return np.ascontiguousarray(pixels), remarks


