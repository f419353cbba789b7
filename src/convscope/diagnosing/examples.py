"""Arrays, tensors, datasets, loaders → a sample in memory: (x, y) as the network gets them, in the order of training.

A source that can be read twice is: what changes from one reading to the next is augmentation, or pairs that come apart.
"""

from __future__ import annotations

import copy
import itertools
import random
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import (
    DataLoader,
    Dataset,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
    default_collate,
)

from convscope.errors import DataError, UsageError

MOST = 4096  # examples kept
BYTES = 256 * 2**20  # of them
SECONDS = 3.0  # for reading them
INPUT = ("x", "input", "inputs", "image", "images", "img", "pixel_values", "features", "data", "input_ids")  # in a dict
TARGET = ("y", "target", "targets", "label", "labels", "class", "mask")


@dataclass(frozen=True, eq=False)
class Examples:
    """What the network is trained on. `x` (N, …), `y` (N, …) or None where the loss reads outputs alone."""

    x: Tensor
    y: Tensor | None
    batch: int = 32
    shuffled: bool = True
    total: int | None = None  # how many there are; None: a stream
    again: tuple[Tensor, Tensor | None] | None = None  # the dataset's first, read a second time; None: cannot be
    epochs: tuple[tuple[Tensor, Tensor | None], ...] = ()  # two whole readings of a loader, in its order
    notes: tuple[str, ...] = field(default=())
    once: tuple[Tensor, Tensor | None] | None = None  # those of `again` as they were read first, before any epoch

    def __len__(self) -> int:
        return len(self.x)

    def batches(self, seed: int, epoch: int = 0, size: int | None = None) -> Iterator[tuple[Tensor, Tensor | None]]:
        """The batches of one epoch: shuffled by (seed, epoch) where training shuffles, else in order.

        Where readings differ (augmentation, pairs that change), epochs take turns with the readings.
        """
        x, y = self.epochs[epoch % len(self.epochs)] if self.epochs else (self.x, self.y)
        order = np.arange(len(x))
        if self.shuffled:
            order = np.random.default_rng((seed, epoch)).permutation(len(x))
        size = size or self.batch
        for a in range(0, len(order), size):
            index = torch.from_numpy(order[a : a + size])
            if len(index) == 1 and len(order) > 1 and size > 1:
                continue  # one example alone: batch norm cannot train on it
            yield x[index], None if y is None else y[index]

    def take(self, n: int) -> Examples:
        """The first `n`."""
        cut = tuple((x[:n], None if y is None else y[:n]) for x, y in self.epochs)
        return Examples(self.x[:n], None if self.y is None else self.y[:n], self.batch, self.shuffled, self.total,
                        None, cut, self.notes)  # fmt: skip


def read(source: Any, batch: int | None = None, shuffle: bool | None = None, most: int = MOST) -> Examples:
    """(x, y), x, a Dataset, a DataLoader or a list of batches → Examples. Errors: DataError, UsageError.

    >>> found = read((np.zeros((100, 3)), np.arange(100)), batch=20)
    >>> tuple(found.x.shape), found.y.dtype, found.batch
    ((100, 3), torch.int64, 20)
    """
    if isinstance(source, Examples):
        return source
    if isinstance(source, DataLoader):
        return _loader(cast("DataLoader[Any]", source), shuffle, most)
    if isinstance(source, Dataset) or (hasattr(source, "__getitem__") and hasattr(source, "__len__")
                                       and not isinstance(source, (tuple, list, dict, np.ndarray, Tensor))
                                       and not hasattr(source, "__array__")):  # fmt: skip
        loader = DataLoader(cast("Dataset[Any]", source), batch or 32, shuffle=False if shuffle is None else shuffle)
        return _loader(loader, True if shuffle is None else shuffle, most)
    if isinstance(source, (tuple, list)) and source and all(map(_is_batch, source[:9])):
        return _batches(cast("Sequence[Any]", source), shuffle, most)
    if isinstance(source, (tuple, list)) and 1 <= len(source) <= 2 and not isinstance(source, str):
        x, y = tensor(source[0], "inputs"), None if len(source) == 1 else tensor(source[1], "targets")
    elif isinstance(source, (np.ndarray, Tensor)) or hasattr(source, "__array__"):
        x, y = tensor(source, "inputs"), None
    elif isinstance(source, Iterator):
        raise UsageError(
            "data that can be read more than once",
            f"got {type(source).__name__}, which is used up by reading",
            "give the DataLoader, the Dataset or the arrays (x, y)",
        )
    elif isinstance(source, Iterable):
        return _batches(cast("Iterable[Any]", source), shuffle, most)
    else:
        raise DataError("data to train on", f"got {type(source).__name__}", "give (x, y), a Dataset or a DataLoader")
    if y is not None and len(x) != len(y):
        raise DataError("one target for each input", f"{len(x)} inputs, {len(y)} targets", "cut both from the same rows")
    return _sample(x, y, batch or 32, True if shuffle is None else shuffle, most)


def tensor(value: Any, what: str) -> Tensor:
    """An array as a tensor; text and objects are refused, with the first that is no number."""
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, tuple) and value and all(getattr(v, "ndim", 0) for v in cast("tuple[Any, ...]", value)):
        shapes = ", ".join(str(tuple(v.shape)) for v in cast("tuple[Any, ...]", value))
        raise DataError(
            f"{what} as one tensor",
            f"a tuple of {len(cast('tuple[Any, ...]', value))}: {shapes}",
            "pack them into one x, and check a module that takes them apart: model(x[:, :3], x[:, 3:])",
        )
    array = np.asarray(value)
    if array.dtype == object or array.dtype.kind in "USmM":
        flat = array.reshape(-1).tolist()
        odd = next((v for v in flat if not isinstance(v, (int, float, bool, np.number))), None)
        if odd is not None:
            raise DataError(
                f"{what} that are numbers",
                f"{repr(odd)[:60]} is {type(odd).__name__} (array of {array.dtype})",
                "code categories as one-hot or indices, and fill what is missing",
            )
        array = np.array(flat, np.float64).reshape(array.shape)
    if array.dtype == np.float64:
        array = array.astype(np.float32)
    elif array.dtype.kind == "u" and array.dtype != np.uint8:
        array = array.astype(np.int64)
    return torch.from_numpy(np.ascontiguousarray(array))


def _sample(x: Tensor, y: Tensor | None, batch: int, shuffle: bool, most: int) -> Examples:
    if len(x) == 0:
        raise DataError("data to train on", "there are no examples", "give at least one")
    each = max(1, x[0].numel() * x.element_size())
    keep = max(min(len(x), 2 * batch, 64), min(most, len(x), BYTES // each))
    notes: tuple[str, ...] = ()
    total = len(x)
    if keep < total:
        # the whole range where training shuffles, so that sorted data is not cut; the beginning where it does not
        index = torch.linspace(0, total - 1, keep).round().long() if shuffle else torch.arange(keep)
        x, y = x[index], None if y is None else y[index]
        notes = (f"{keep:,} of {total:,} examples were looked at, {'evenly spread' if shuffle else 'the first'}",)
    return Examples(x, y, batch, shuffle, total, None, (), notes)


def _loader(loader: DataLoader[Any], shuffle: bool | None, most: int) -> Examples:
    if shuffle is None:
        shuffle = isinstance(loader.sampler, (RandomSampler, SubsetRandomSampler, WeightedRandomSampler)) \
            or loader.batch_sampler is None  # fmt: skip
    known = isinstance(loader.sampler, (SequentialSampler, RandomSampler, SubsetRandomSampler, WeightedRandomSampler))
    with _undrawn(loader):
        loader = copy.copy(loader)  # workers that persist are the copy's
        # a sampler of the user's own may move what it draws from: then all of it, as it is before the first epoch
        again = _reread(loader.dataset, 64 if known else most)
        first = _gather(loader, most)
        second = _gather(loader, most) if hasattr(loader.dataset, "__len__") else None
        left_out = () if again is None else _left_out(loader.dataset[0])
    total = len(loader.dataset) if hasattr(loader.dataset, "__len__") else None  # type: ignore[arg-type]
    notes = (
        ()
        if total is not None and len(first[0]) >= total
        else (f"{len(first[0]):,} of {'a stream' if total is None else f'{total:,}'} examples were looked at",)
    )
    notes += left_out
    changed = second is not None and not (shuffle and known) and not _same(first, second)
    if again is not None:
        return Examples(
            *first,
            loader.batch_size or 1,
            shuffle,
            total,
            again[1],
            (first, second) if second is not None and (changed or _differ(again)) else (),
            notes,
            again[0],
        )
    return Examples(
        *first,
        loader.batch_size or 1,
        shuffle,
        total,
        None,
        (first, second) if changed and second is not None else (),
        notes,
    )


@contextmanager
def _undrawn(loader: DataLoader[Any]) -> Iterator[None]:
    """The generators that a loader, its samplers and its dataset hold are afterwards what they were."""
    holders = (loader, loader.sampler, loader.batch_sampler, getattr(loader.batch_sampler, "sampler", None), loader.dataset)
    held = {id(v): v for holder in holders for v in getattr(holder, "__dict__", {}).values()}.values()
    torch_states = [(g, g.get_state()) for g in held if isinstance(g, torch.Generator)]
    numpy_states = [(g, g.bit_generator.state) for g in held if isinstance(g, np.random.Generator)]
    old_states = [(g, g.get_state()) for g in held if isinstance(g, np.random.RandomState)]
    python_states = [(g, g.getstate()) for g in held if isinstance(g, random.Random)]
    try:
        yield
    finally:
        for g, state in torch_states:
            g.set_state(state)
        for g, state in numpy_states:
            g.bit_generator.state = state
        for g, state in old_states:
            g.set_state(state)
        for g, state in python_states:
            g.setstate(state)


def _reread(dataset: Any, most: int) -> tuple[Any, Any] | None:
    """The first of a dataset that is read by number, twice; None for a stream."""
    if not hasattr(dataset, "__getitem__") or not hasattr(dataset, "__len__"):
        return None
    if not len(dataset):
        return None  # told by whoever wants a batch of it
    many = range(min(most, len(dataset)))
    return tuple(_pair(default_collate([dataset[i] for i in many])) for _ in range(2))  # type: ignore[return-value]


def _differ(again: tuple[Any, Any]) -> bool:
    return not _same(*again)


def _same(a: Any, b: Any) -> bool:
    return a[0].shape == b[0].shape and torch.equal(a[0], b[0]) and (a[1] is None or torch.equal(a[1], b[1]))


def _batches(source: Iterable[Any], shuffle: bool | None, most: int) -> Examples:
    first = _gather(source, most)
    size = len(_pair(next(iter(source)))[0])
    second = _gather(source, most)
    changed = not _same(first, second)
    return Examples(*first, size, bool(shuffle), len(first[0]), None, (first, second) if changed else (),
                    _left_out(next(iter(source))))  # fmt: skip


def _gather(source: Iterable[Any], most: int) -> tuple[Tensor, Tensor | None]:
    xs, ys, count, size, until = [], [], 0, 0, time.monotonic() + SECONDS
    for item in itertools.islice(iter(source), most):
        x, y = _pair(item)
        xs.append(x)
        ys.append(y)
        count, size = count + len(x), size + x.numel() * x.element_size()
        if count >= most or size >= BYTES or time.monotonic() > until:
            break
    if not xs:
        raise DataError("data to train on", "the loader gives no batch", "give at least one")
    return torch.cat(xs)[:most], None if ys[0] is None else torch.cat(ys)[:most]


def _pair(item: Any) -> tuple[Tensor, Tensor | None]:
    """Input and target of a batch: the first two parts of a tuple, or those of a dict by their names."""
    if isinstance(item, Mapping):
        item = _by_name(cast("Mapping[str, Any]", item))
    if not isinstance(item, (tuple, list)):
        return tensor(item, "inputs of a batch"), None
    parts = [tuple(v) if isinstance(v, list) and v and isinstance(v[0], (Tensor, np.ndarray)) else v
             for v in cast("Sequence[Any]", item)[:2]]  # fmt: skip
    return tensor(parts[0], "inputs of a batch"), tensor(parts[1], "targets of a batch") if len(parts) > 1 else None


def _left_out(item: Any) -> tuple[str, ...]:
    """That an item has more parts than two, in words."""
    if isinstance(item, (tuple, list)) and len(cast("Sequence[Any]", item)) > 2:
        return (f"each item has {len(cast('Sequence[Any]', item))} parts: the first is the input, the second the target, "
                "the others were left out",)  # fmt: skip
    return ()


def _by_name(item: Mapping[str, Any]) -> tuple[Any, ...]:
    """('image', 'label') of a dict by their usual names, the first two by their order where they have others."""
    x = next((item[k] for k in INPUT if k in item), None)
    y = next((item[k] for k in TARGET if k in item), None)
    if x is not None and (y is not None or len(item) == 1):
        return (x,) if y is None else (x, y)
    if len(item) <= 2 and x is None and y is None:
        return tuple(item.values())
    raise DataError("an input and a target in each batch", f"a dict of {', '.join(map(str, item))}",
                    "name them x and y, or give pairs (x, y)")  # fmt: skip


def _is_batch(item: Any) -> bool:
    if isinstance(item, dict):
        return any(hasattr(v, "shape") for v in cast("dict[Any, Any]", item).values())
    return isinstance(item, (tuple, list)) and bool(item) and (hasattr(item[0], "shape") or _is_batch(item[0]))
