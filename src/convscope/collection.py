"""A collection of images with stable ids and numbers -> batches.

A `Collection` gives image `i` as uint8 pixels and runs through all of them in batches. An image that cannot be read is named
in `skipped` and left out; the numbers of the others stay as they are. `convscope.data.open_collection` makes collections.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from convscope.errors import DataError, ShapeError, UsageError, unknown
from convscope.images import Pixels

Decoded = tuple[NDArray[np.float32] | None, str, tuple[str, ...]]  # x, or why there is none; remarks


@dataclass(frozen=True)
class Skipped:
    """An image that could not be used, and why."""

    id: str
    reason: str


@dataclass(frozen=True)
class Batch:
    """Images that went through the preprocessing. `stop` is the position to start from to go on after this batch."""

    index: NDArray[np.int64]  # (B,) numbers in the collection
    ids: tuple[str, ...]
    x: torch.Tensor  # (B, C, H, W) float32
    labels: NDArray[np.int64]  # (B,) −1 unknown
    stop: int


@dataclass(eq=False, repr=False)
class Collection:
    """Images with ids, labels and class names. `read(i)` gives pixels and remarks, or raises DataError."""

    name: str
    ids: tuple[str, ...]
    labels: NDArray[np.int64]  # (N,) −1 unknown
    classes: tuple[str, ...]
    read: Callable[[int], tuple[Pixels, tuple[str, ...]]]
    sizes: NDArray[np.int64]  # (N,) bytes of each image, on disk or in memory
    content: str = ""  # sha256 of all pixels where they lie in memory
    notes: tuple[str, ...] = ()  # what was assumed
    ahead: bool = False  # decode the next batches in a thread while one is used: only for files
    missing: tuple[Skipped, ...] = ()  # images that should be there and have no number, e.g. the end of a cut file
    _failed: dict[int, str] = field(default_factory=dict[int, str])
    _remarks: dict[str, set[int]] = field(default_factory=dict[str, set[int]])

    def __post_init__(self) -> None:
        if not self.ids:
            found = f"{self.missing[0].id}: {self.missing[0].reason}" if self.missing else "it is empty"
            raise DataError(f"no images in {self.name}", found,
                            "give a folder, an archive or a dataset that holds images")
        if not len(self.ids) == len(self.labels) == len(self.sizes):
            raise ShapeError("ids, labels and sizes must be as many as images",
                             f"got {len(self.ids)}, {len(self.labels)}, {len(self.sizes)}", "give one an image")
        if len(self.labels) and self.labels.max() >= len(self.classes):
            self.classes += tuple(str(k) for k in range(len(self.classes), int(self.labels.max()) + 1))

    def __repr__(self) -> str:
        labelled = int((self.labels >= 0).sum())
        return f"Collection({self.name!r}: {len(self)} images, {labelled} labelled, {len(self.classes)} classes)"

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, i: int) -> Pixels:
        """uint8 (H, W, C). Errors: DataError if it cannot be read, IndexError."""
        if not -len(self) <= i < len(self):
            raise IndexError(f"image {i} of {len(self)}")
        return self.read(i % len(self))[0]

    @property
    def skipped(self) -> list[Skipped]:
        """The images that could not be used so far, in the order of the collection."""
        return [*self.missing, *(Skipped(self.ids[i], self._failed[i]) for i in sorted(self._failed))]

    @property
    def remarks(self) -> dict[str, int]:
        """What had to be done to images read so far ('transparent: laid on white'), and to how many."""
        return {text: len(which) for text, which in sorted(self._remarks.items())}

    @property
    def fingerprint(self) -> str:
        """sha256 over ids, sizes and labels (and pixels, where they are in memory)."""
        digest = hashlib.sha256("\n".join((self.content, *self.ids)).encode())
        digest.update(self.sizes.astype("<i8").tobytes() + self.labels.astype("<i8").tobytes())
        return digest.hexdigest()

    def find(self, id: str) -> int:
        """The number of the image with this id."""
        if id not in self.ids:
            raise unknown("image", id, self.ids, f"`Collection.ids` lists all {len(self)}")
        return self.ids.index(id)

    def take(self, indices: Sequence[int] | NDArray[np.integer]) -> Collection:
        """These images, in this order, with their ids; numbered anew."""
        chosen = np.asarray(indices, dtype=np.int64).reshape(-1)
        if len(chosen) and not (chosen.min() >= 0 and chosen.max() < len(self)):
            raise UsageError("no image with such a number", f"asked for {chosen.min()} … {chosen.max()} of {len(self)}",
                             f"numbers go from 0 to {len(self) - 1}")
        read = self.read
        return Collection(self.name, tuple(self.ids[i] for i in chosen), self.labels[chosen], self.classes,
                          lambda i: read(int(chosen[i])), self.sizes[chosen], self.content, self.notes, self.ahead)

    def split(self, held_out: float = 0.2, seed: int = 0) -> tuple[Collection, Collection]:
        """(rest, held out): of each class the share `held_out`, rounded, drawn at random by `seed`; order is kept."""
        if not 0 < held_out < 1:
            raise UsageError("held_out must be a share between 0 and 1", f"got {held_out!r}",
                             "0.2 holds out every fifth image")
        rng = np.random.default_rng(seed)
        mask = np.zeros(len(self), bool)
        for label in np.unique(self.labels):
            members = np.flatnonzero(self.labels == label)
            mask[rng.permutation(members)[: round(held_out * len(members))]] = True
        if mask.all() or not mask.any():
            raise UsageError(f"cannot hold out {held_out:g} of {len(self)} images", "one part would be empty",
                             "give more images")
        return self.take(np.flatnonzero(~mask)), self.take(np.flatnonzero(mask))

    def batches(self, preprocess: Callable[[Pixels], NDArray[np.float32]], batch_size: int, start: int = 0,
                stop: int | None = None, order: NDArray[np.integer] | None = None) -> Generator[Batch, None, None]:
        """Images `start … stop − 1` (of `order`, if given) in batches; what fails goes to `skipped` and is left out.

        A batch spans `batch_size` positions, so it is smaller where images fail, and absent where all of them do. Errors:
        DataError (all images fail), ShapeError (images of one batch differ in size).

        >>> from convscope import data, images
        >>> batch = next(data.open_collection("digits").batches(images.PRESETS["digits"], batch_size=4))
        >>> tuple(batch.x.shape), batch.ids[3], batch.labels.tolist(), batch.stop
        ((4, 1, 8, 8), 'digits/0003', [0, 1, 2, 3], 4)
        """
        if batch_size < 1:
            raise UsageError("batch_size must be at least 1", f"got {batch_size}", "32 is usual")
        order = np.arange(len(self)) if order is None else np.asarray(order, np.int64)
        stop = len(order) if stop is None else min(stop, len(order))
        spans = [(a, order[a : min(a + batch_size, stop)]) for a in range(start, stop, batch_size)]

        def decode(chosen: NDArray[np.integer]) -> list[Decoded]:
            return [self._decode(int(i), preprocess) for i in chosen]

        if self.ahead:
            decoded = _ahead(decode, [chosen for _, chosen in spans])
        else:
            decoded = (decode(chosen) for _, chosen in spans)
        some = False
        with contextlib.closing(decoded):
            for (a, chosen), images in zip(spans, decoded, strict=True):
                good = self._record(chosen, images)
                if good:
                    some = True
                    index = chosen[good].astype(np.int64)
                    x = torch.from_numpy(self._stack([images[k][0] for k in good], index))
                    yield Batch(index, tuple(self.ids[i] for i in index), x, self.labels[index], a + len(chosen))
        if not some and spans and start == 0 and stop == len(self):
            first = self.skipped[len(self.missing)]
            raise DataError(f"none of the {stop} images of {self.name} can be used",
                            f"the first, {first.id}: {first.reason}", "look at `skipped` for all reasons")

    def _decode(self, i: int, preprocess: Callable[[Pixels], NDArray[np.float32]]) -> Decoded:
        try:
            pixels, remarks = self.read(i)
            return preprocess(pixels), "", remarks
        except (DataError, ShapeError) as error:
            return None, str(error), ()

    def _record(self, chosen: NDArray[np.integer], images: list[Decoded]) -> list[int]:
        """Keep why images failed; which of the batch did not."""
        for i, (x, reason, remarks) in zip(chosen.tolist(), images, strict=True):
            if x is None:
                self._failed[i] = reason
            for remark in remarks:
                self._remarks.setdefault(remark, set()).add(i)
        return [k for k, (x, _, _) in enumerate(images) if x is not None]

    def _stack(self, images: Sequence[Any], index: NDArray[np.int64]) -> NDArray[np.float32]:
        shapes = [x.shape for x in images]
        odd = next((k for k, shape in enumerate(shapes) if shape != shapes[0]), None)
        if odd is not None:
            raise ShapeError("images of one batch must have one size",
                             f"{self.ids[index[0]]} is {shapes[0]}, {self.ids[index[odd]]} is {shapes[odd]}",
                             "use a Preprocess with a size and resize='crop', 'stretch' or 'pad'")
        return np.stack(images)


def _ahead(decode: Callable[[NDArray[np.integer]], list[Decoded]], todo: list[NDArray[np.integer]],
           depth: int = 2) -> Generator[list[Decoded], None, None]:
    """The results in order, `depth` of them under way in one thread. Stopping early leaves no thread behind."""
    waiting: deque[Future[list[Decoded]]] = deque()
    pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="convscope-decode")
    try:
        for k in range(len(todo)):
            while len(waiting) < depth and k + len(waiting) < len(todo):
                waiting.append(pool.submit(decode, todo[k + len(waiting)]))
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
