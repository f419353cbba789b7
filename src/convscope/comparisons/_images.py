"""What the comparisons share: images that every network reads in its own way, names that tell the networks apart, checks.

A method is called as `method(networks, layer, images) -> Result`: at least two networks, a layer's address or '' for all.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope.collection import Collection
from convscope.errors import DataError, UsageError
from convscope.images import Preprocess
from convscope.network import Network
from convscope.results import Origin


@dataclass(frozen=True)
class Images:
    """Images to show to all networks, with one preprocessing a network."""

    collection: Collection
    preprocess: tuple[Preprocess, ...]
    notes: tuple[str, ...] = ()  # what had to be assumed

    def chosen(self, most: int, seed: int) -> tuple[NDArray[np.int64], tuple[str, ...]]:
        """The numbers of at most `most` images, ascending, and a note if they are a sample."""
        count = len(self.collection)
        if count <= most:
            return np.arange(count), self.notes
        picked = np.random.default_rng(seed).choice(count, most, replace=False)
        return np.sort(picked), (*self.notes, f"sampled: {most:,} of {count:,} images, seed {seed}")

    def batches(self, networks: Sequence[Network], order: NDArray[np.int64], size: int) -> Iterator[list[Tensor]]:
        """The same images as inputs x (B, C, H, W) of each network, in batches of nearly equal size, `size` at most.

        An image that one of the networks cannot read is left out for all. Errors: DataError if none is left.
        """
        some = False
        for span in np.array_split(order, -(-len(order) // size)):
            read: dict[str, tuple[NDArray[np.int64], Tensor]] = {}
            for prepared in self.preprocess:
                if repr(prepared) in read:
                    continue
                with contextlib.closing(self.collection.batches(prepared, len(span), order=span)) as found:
                    batch = next(found, None)
                if batch is not None:
                    read[repr(prepared)] = batch.index, batch.x
            common = [i for i in span.tolist() if all(i in index for index, _ in read.values())]
            if len(read) < len({repr(p) for p in self.preprocess}) or not len(common):
                continue
            some = True
            yield [net.check_input(x[torch.from_numpy(np.isin(index, common))])
                   for net, (index, x) in ((net, read[repr(p)]) for net, p in zip(networks, self.preprocess, strict=True))]
        if not some:
            raise DataError(f"none of {len(order)} images of {self.collection.name} can be used by all networks",
                            f"{len(self.collection.skipped)} could not be read", "give other images")

    def left_out(self) -> tuple[str, ...]:
        """What to say of images that could not be read."""
        count = len(self.collection.skipped)
        return (f"left out: {count:,} images that could not be read",) if count else ()


def wanted(networks: Sequence[Network], images: Images | None, what: str) -> Images:
    """The images, or an error that says who needs them."""
    if images is None:
        raise UsageError(f"{what} needs images", f"{len(networks)} networks were given and no image",
                         "give some: --images FOLDER, or images=…")
    return images


def at_least_two(networks: Sequence[Network]) -> tuple[str, ...]:
    """A warning if two of them are the same numbers in memory. Errors: UsageError for less than two."""
    if len(networks) < 2:
        raise UsageError("a comparison needs at least two networks", f"got {len(networks)}",
                         "give a second network, or checkpoints of one: --checkpoint FILE --checkpoint FILE")
    places = [{t.data_ptr() for t in net.tensors.values() if t.numel()} for net in networks]
    shared = any(a & b for i, a in enumerate(places) for b in places[:i])
    return ("the networks share their weights in memory: training one has changed the other",) if shared else ()


def exactly_two(networks: Sequence[Network], what: str) -> tuple[str, ...]:
    """The same. Errors: UsageError for more than two as well."""
    if len(networks) > 2:
        raise UsageError(f"{what} compares two networks", f"got {len(networks)}", "give the two that matter")
    return at_least_two(networks)


def names(networks: Sequence[Network]) -> list[str]:
    """One name a network; numbered where two have the same."""
    given = [net.name for net in networks]
    return [name if given.count(name) == 1 else f"{name}#{i + 1}" for i, name in enumerate(given)]


def origin(networks: Sequence[Network], method: object, images: Images | None = None, seed: int | None = None) -> Origin:
    """How a comparison was made: its network is the prints of all, of more than two the first, their number and a digest."""
    made = networks[0].origin(method, seed=seed)
    prints = "+".join(net.print for net in networks)
    if len(networks) > 2:
        digest = hashlib.blake2b(prints.encode(), digest_size=8).hexdigest()
        prints = f"{networks[0].print}+{len(networks) - 1} more ({digest})"
    shown = "" if images is None else images.collection.fingerprint[:16]
    return Origin(made.method, prints, shown, seed, made.versions)
