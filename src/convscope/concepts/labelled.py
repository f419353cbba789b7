"""Concepts of the user's own: a folder of images, and for each concept a folder of masks with the images' names.

    FOLDER/images/street/01.jpg        FOLDER/masks/wheel/street/01.png       white where there is a wheel

An image without a mask of a concept does not show it; one without any mask tells concepts from everything else.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convscope.concepts.sets import Concept, ConceptSet, Example
from convscope.data import SUFFIXES, open_collection
from convscope.errors import DataError
from convscope.images import Pixels, Preprocess, load_image


def labelled(folder: str | Path, preprocess: Preprocess, seed: int = 0) -> ConceptSet:
    """The examples of a folder; masks go through the same resizing and cropping as the images.

    White is the concept: 128 … 255. Half of each concept's images, drawn by `seed`, test the names; a concept with fewer
    than two images is left out, which is said. Errors: DataError for a folder, an image or a mask that cannot be used.
    """
    root = Path(folder).expanduser()
    for part in ("images", "masks"):
        if not (root / part).is_dir():
            raise DataError(f"no concepts in {root}", f"it has no folder {part}/", "give images/ and masks/CONCEPT/")
    images = open_collection(root / "images")
    number = {str(Path(i).with_suffix("")): n for n, i in enumerate(images.ids)}
    found: list[tuple[str, dict[int, Path]]] = []
    notes: list[str] = []
    for concept in sorted(p for p in (root / "masks").iterdir() if p.is_dir() and not p.name.startswith(".")):
        masks = _masks(concept, number)
        if len(masks) < 2:
            notes.append(f"concept left out: {concept.name} ({len(masks)} images; one half names, the other half tests)")
        else:
            found.append((concept.name, masks))
    if not found:
        raise DataError(f"no concepts in {root}", f"masks/ has no folder with two masks of {len(images)} images",
                        "name them masks/CONCEPT/IMAGE.png")
    shape = _resized(preprocess)
    names = tuple(name for name, _ in found)

    def read(i: int) -> Example:
        pixels = images[i]
        masks = {c: _mask(files[i], pixels, shape) for c, (_, files) in enumerate(found) if i in files}
        return Example(pixels, masks)

    half = _halves([set(files) for _, files in found], len(images), seed)
    return ConceptSet(str(root), tuple(Concept(n.replace("_", " "), "yours") for n in names), half, read, tuple(notes))


def _masks(folder: Path, number: dict[str, int]) -> dict[int, Path]:
    """Mask files by image number."""
    found: dict[int, Path] = {}
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES):
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name not in number:
            raise DataError(f"the mask {path} has no image", f"there is no images/{name}.*", "give both the same name")
        found[number[name]] = path
    return found


def _resized(preprocess: Preprocess) -> Callable[[Pixels], NDArray[np.float32]]:
    """The same change of size for a mask: (H, W, 1) → (1, h, w) in 0 … 1."""
    return dataclasses.replace(preprocess, mean=(0.0,), std=(1.0,), range=1.0, channels="L")


def _mask(path: Path, pixels: Pixels, shape: Callable[[Pixels], NDArray[np.float32]]) -> NDArray[np.bool_]:
    mask = load_image(path)
    if mask.shape[:2] != pixels.shape[:2]:
        raise DataError(f"the mask {path} does not fit its image", f"{mask.shape[0]}×{mask.shape[1]} pixels, the image has "
                        f"{pixels.shape[0]}×{pixels.shape[1]}", "draw it on the image itself")
    return shape(mask)[0] >= 0.5


def _halves(shown: list[set[int]], count: int, seed: int) -> NDArray[np.int64]:
    """0 or 1 for every image: of each concept, the rarest first, half of the images each, as nearly as can be."""
    rng = np.random.default_rng(seed)
    half = np.full(count, -1, np.int64)
    for members in [*sorted(shown, key=len), set(range(count))]:
        free = rng.permutation(np.array(sorted(i for i in members if half[i] < 0), np.int64))
        zeros = sum(half[i] == 0 for i in members)
        need = max(0, min(len(free), (len(members) + 1) // 2 - zeros))
        half[free[:need]], half[free[need:]] = 0, 1
    return half
