"""What the questions about a collection share: a sweep's record, network and images; and where on an image a unit looked.

A method is called as `method(study, layer) -> Result` with the address of a layer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convscope.data import Collection
from convscope.errors import DataError, StoreError, unknown
from convscope.images import Pixels, Preprocess
from convscope.network import Network, map_of
from convscope.record import Record
from convscope.results import Layer, Origin

Box = tuple[int, int, int, int]  # y0, x0, y1, x1: the pixels y0 … y1 − 1, x0 … x1 − 1


@dataclass(frozen=True)
class Study:
    """A sweep's record together with what was swept. Errors: StoreError if they do not belong together."""

    record: Record
    net: Network
    collection: Collection
    preprocess: Preprocess

    def __post_init__(self) -> None:
        facts = self.record.facts
        if facts.network != self.net.print:
            raise StoreError(f"the record in {self.record.folder} is of another network",
                             f"print {facts.network}, this one has {self.net.print}", "sweep again with this network")
        if facts.collection != f"{self.collection.fingerprint}|{self.preprocess!r}":
            raise StoreError(f"the record in {self.record.folder} is of other images or another preprocessing",
                             f"this is {self.collection.name} with {self.preprocess.describe()}", "sweep again with these")

    def seen(self, image: int) -> Pixels:
        """(H, W, 3) uint8: the image as the network saw it."""
        return self.preprocess.inverse(self.preprocess(self.collection[self.number(image)]))

    def number(self, image: int) -> int:
        """An image number that exists. Errors: UnknownName."""
        if not 0 <= image < len(self.collection):
            raise unknown("image", image, (), f"numbers go from 0 to {len(self.collection) - 1}")
        return image

    def origin(self, method: object, seed: int | None = None) -> Origin:
        """How a result of this study was made; its input is the collection."""
        made = self.net.origin(method, seed=seed)
        return Origin(made.method, made.network, self.collection.fingerprint[:16], seed, made.versions)

    def vectors(self, layer: str, most: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.int64], tuple[str, ...]]:
        """(M, U) embeddings, the numbers (M,) of their images, and what was left out.

        The same `most` and `seed` give the same images.
        """
        kept = self.record.embeddings(layer)
        usable = np.flatnonzero(usable_rows(kept))
        notes: list[str] = []
        if len(usable) < len(kept):
            notes.append(f"left out: {len(kept) - len(usable):,} of {len(kept):,} images, which could not be measured")
        if len(usable) > most:
            notes.append(f"sampled: {most:,} of {len(usable):,} images, seed {seed}")
            usable = np.sort(np.random.default_rng(seed).choice(usable, most, replace=False))
        if len(usable) < 2:
            raise DataError(f"too few images to compare in {layer}", f"{len(usable)} were measured",
                            "sweep at least two images")
        return kept[usable].astype(np.float64), usable, tuple(notes)


def usable_rows(kept: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(N,) which rows hold numbers; read piece by piece, for the array may be larger than memory."""
    return np.concatenate([np.isfinite(kept[at : at + 4096]).all(1) for at in range(0, len(kept), 4096)])


def box(layer: Layer, position: int, height: int, width: int) -> tuple[Box, bool]:
    """The pixels of a (height, width) image that a flat map position sees, clipped; and whether that is known (else: all).

    Follows `geometry.Field.span` along each axis.
    """
    size, fields = map_of(layer), layer.fields
    if fields is None or len(fields) != 2:
        return (0, 0, height, width), False
    if size is None or len(size) != 2:
        return (0, 0, height, width), all(field.size is None for field in fields)
    row, column = divmod(int(position), size[1])
    (y0, y1), (x0, x1) = fields[0].span(row, height), fields[1].span(column, width)
    return (y0, x0, y1, x1), True


def cut(layer: Layer, position: int, pixels: Pixels) -> Pixels:
    """The receptive field, of one size for all positions: mid-grey beyond the image. An axis seen whole is not cut."""
    size, fields = map_of(layer), layer.fields
    if fields is None or len(fields) != 2 or size is None or len(size) != 2:
        return pixels
    sides: list[int] = []
    into: list[slice] = []
    out_of: list[slice] = []
    for field, n, at in zip(fields, pixels.shape[:2], divmod(position, size[1]), strict=True):
        start, side = 0, n
        if field.size is not None and field.size < n:
            start, side = int((field.start + at * field.stride) // 1), field.size
        first, stop = min(max(start, 0), n), min(max(start + side, 0), n)
        sides.append(side)
        into.append(slice(first - start, stop - start))
        out_of.append(slice(first, stop))
    tile = np.full((*sides, 3), 128, np.uint8)
    tile[tuple(into)] = pixels[tuple(out_of)]
    return tile
