"""One pass of a collection through a network, for all layers at once. Bounded memory, resumable, shardable.

Every batch runs once through a fast private copy of the network (`fast.py`); each layer's value is looked at as it
appears and then forgotten (`tally.py`). The state goes to disk every few seconds in one atomic file that also says which
batch is next, so a killed sweep goes on without losing or double-counting an image. Shards take whole ranges of batches
and merge to the same bits.
"""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from convscope import outputs, record, store
from convscope.data import Batch, Collection
from convscope.errors import DataError, ShapeError, StoreError, UsageError
from convscope.fast import fast
from convscope.fields import param, validate
from convscope.glance import Glance, map_means
from convscope.images import Preprocess
from convscope.network import Network, map_of, units_of
from convscope.record import PREDICTION, Facts, Record
from convscope.results import Layer
from convscope.tally import Tally

Progress = Callable[[int, int, str], None]
SAVE_EVERY = 20.0  # seconds between two states on disk: what a kill can cost


@dataclass(frozen=True)
class Sweep:
    """What did every unit of every layer do over a collection?"""

    top: int = param(9, "strongest images kept for each unit", low=1, high=1000)
    batch: int = param(32, "images per forward pass", low=1)
    measure: str = param(
        "all",
        "'top': strongest images; 'moments': with mean and variance; 'all': with quantiles, extremes, classes",
        choices=("top", "moments", "all"),
    )

    def __post_init__(self) -> None:
        validate(self)

    def __call__(
        self,
        net: Network,
        collection: Collection,
        preprocess: Preprocess,
        folder: str | Path,
        *,
        layers: tuple[str, ...] = (),
        embed: tuple[str, ...] = (),
        progress: Progress | None = None,
    ) -> Record:
        """Sweep into `folder` (taking up what is there), and return its Record.

        `layers`: which ones to measure, all with units by default. `embed`: layers whose per-image means are kept (N, U).
        Under torchrun every process takes its range of batches and process 0 merges them.
        """
        if len(collection) == 0:
            raise DataError(f"{collection.name} holds no images", "there is nothing to sweep", "look at the folder")
        chosen = tuple(net[a] for a in layers) if layers else record.measurable(net.layers)
        facts = self._facts(net, collection, preprocess, chosen, embed)
        work = _Work(self, net, collection, preprocess, Path(folder), facts, chosen)
        rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
        work.prepare(rank)
        work.run(rank, world, progress)
        if world > 1:
            _wait_for_all()
            if rank == 0:
                merge(folder, world)
            _wait_for_all()
        return Record(folder)

    def _facts(
        self, net: Network, collection: Collection, preprocess: Preprocess, chosen: tuple[Layer, ...], embed: tuple[str, ...]
    ) -> Facts:
        if net.batch not in (None, self.batch) or (net.batch or 1) > 1:
            raise UsageError(
                f"{net.name} takes batches of {net.batch} only",
                f"asked for {self.batch}, and the last may be smaller",
                "sweep with batch=1" if net.batch == 1 else "open it with an example of one image",
            )
        for layer in chosen:
            if units_of(layer) is None:
                raise UsageError(
                    f"{layer.address} has no units", f"its output is {layer.output_shape}", "choose a layer with channels"
                )
        return Facts(
            network=net.print,
            collection=f"{collection.fingerprint}|{preprocess!r}",
            layers=tuple(layer.address for layer in chosen),
            units=tuple(units_of(layer) or 0 for layer in chosen),
            maps=tuple(map_of(layer) for layer in chosen),
            top=self.top,
            batch=self.batch,
            measure=self.measure,
            embed=tuple(net[a].address for a in embed),
            classes=len(collection.classes),
            images=len(collection),
        )


@dataclass
class _Work:
    """One process's share of a sweep."""

    sweep: Sweep
    net: Network
    collection: Collection
    preprocess: Preprocess
    folder: Path
    facts: Facts
    layers: tuple[Layer, ...]

    def prepare(self, rank: int) -> None:
        """Write what is asked, or check that it is what was asked before."""
        about = {
            "facts": dataclasses.asdict(self.facts),
            "ids": list(self.collection.ids),
            "labels": self.collection.labels.tolist(),
            "classes": list(self.collection.classes),
            "collection": self.collection.name,
            "origin": dataclasses.asdict(self.net.origin(self.sweep)),
        }
        path = self.folder / "record.json"
        if rank == 0:
            self.folder.mkdir(parents=True, exist_ok=True)
            if path.exists():
                before = Record(self.folder).facts
                if before != self.facts:
                    differ = [
                        f.name for f in dataclasses.fields(Facts) if getattr(before, f.name) != getattr(self.facts, f.name)
                    ]
                    raise StoreError(
                        f"{self.folder} holds another sweep",
                        f"it differs in {', '.join(differ)}",
                        "give another folder or empty this one",
                    )
            else:
                self._make_arrays()  # first: once record.json is there, all of it is
                with store.atomic(path) as file:
                    file.write(json.dumps(about).encode())
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            _wait_for_all()

    def _make_arrays(self) -> None:
        n = len(self.collection)
        for address in self.facts.embed:
            shape = (n, units_of(self.net[address]) or 0)
            made = np.lib.format.open_memmap(record.embedding_file(self.folder, address), "w+", np.float32, shape)
            made[:] = np.nan
            made.flush()
        np.lib.format.open_memmap(self.folder / "predictions.npy", "w+", PREDICTION, (n,)).flush()

    def run(self, rank: int, world: int, progress: Progress | None) -> None:
        batches = -(-len(self.collection) // self.sweep.batch)
        first, stop = batches * rank // world, batches * (rank + 1) // world
        path = self.folder / ("state.npz" if world == 1 else f"shard-{rank}-of-{world}.npz")
        tallies = {layer.address: self.facts.tally(at) for at, layer in enumerate(self.layers)}
        header: dict[str, Any] = {"first": first, "next": first, "stop": stop, "counted": 0, "skipped": []}
        if path.exists():
            header, arrays = record.read_state(path)
            for at, one in enumerate(tallies.values()):
                one.restore({k.removeprefix(f"{at}/"): v for k, v in arrays.items() if k.startswith(f"{at}/")})
        if header["next"] >= stop and path.exists():
            return
        self._pass(tallies, header, path, progress)

    def _pass(self, tallies: dict[str, Tally], header: dict[str, Any], path: Path, progress: Progress | None) -> None:
        """Batches `next … stop`, with the state on disk every few seconds and at the end, however it ends."""
        embeddings = {a: np.load(record.embedding_file(self.folder, a), mmap_mode="r+") for a in self.facts.embed}
        predictions = np.load(self.folder / "predictions.npy", mmap_mode="r+")
        quick = fast(self.net, {*tallies, *embeddings})
        size, total = self.sweep.batch, header["stop"] * self.sweep.batch
        before, saved = list(header["skipped"]), time.monotonic()
        start = header["next"] * size

        def keep() -> None:
            known = {i for i, _ in before}
            header["skipped"] = before + [[s.id, s.reason] for s in self.collection.skipped if s.id not in known]
            record.write_state(
                path, header, {f"{at}/{k}": v for at, one in enumerate(tallies.values()) for k, v in one.state().items()}
            )

        # Whatever stops this loop, the last state on disk stands: a batch is in it wholly or not at all.
        for batch in self.collection.batches(self.preprocess, size, start, min(total, len(self.collection))):
            self._one(quick, batch, tallies, embeddings, predictions)
            header["next"], header["counted"] = -(-batch.stop // size), header["counted"] + len(batch.index)
            if time.monotonic() - saved > SAVE_EVERY:
                _flush(predictions, *embeddings.values())
                keep()
                saved = time.monotonic()
            if progress is not None:
                progress(
                    min(batch.stop, len(self.collection)) - header["first"] * size,
                    min(total, len(self.collection)) - header["first"] * size,
                    "images",
                )
        header["next"] = header["stop"]
        _flush(predictions, *embeddings.values())
        keep()

    def _one(
        self, quick: Any, batch: Batch, tallies: dict[str, Tally], embeddings: dict[str, Any], predictions: NDArray[Any]
    ) -> None:
        if tuple(batch.x.shape[1:]) != self.net.input_shape[1:]:
            raise ShapeError(
                f"{self.net.name} takes {'×'.join(map(str, self.net.input_shape[1:]))}",
                f"the preprocessing makes {'×'.join(map(str, batch.x.shape[1:]))}",
                "give a Preprocess with that size",
            )
        number = int(batch.stop - 1) // self.sweep.batch
        found: list[tuple[str, NDArray[np.float64]]] = []

        seen: dict[str, Glance] = {}
        moments = self.sweep.measure != "top"

        def see(layer: Layer, value: Tensor) -> None:
            value = value.movedim(layer.unit_axis or 1, 1).cpu()
            if layer.address in tallies:
                before = seen.get(layer.parents[0]) if layer.operator == "relu" else None
                one = tallies[layer.address]
                seen[layer.address] = one.update(value, number, batch.index, batch.labels, moments, before)
            if layer.address in embeddings:
                means = seen[layer.address].means if layer.address in seen else None
                found.append((layer.address, map_means(value) if means is None else means))

        output = quick.run(batch.x.to(self.net.device, self.net.dtype), see).cpu()
        for address, means in found:
            embeddings[address][batch.index] = means
        scores = outputs.read(self.net).each(output.flatten(1).float())
        best = scores.topk(min(5, scores.shape[1]))
        rows = np.zeros(len(batch.index), PREDICTION)
        rows["index"][:, : best.indices.shape[1]], rows["probability"][:, : best.values.shape[1]] = (
            best.indices.numpy(),
            best.values.numpy(),
        )
        rows["seen"] = True
        predictions[batch.index] = rows


def merge(folder: str | Path, world: int) -> Record:
    """Join the shards of a sweep into its one state. The same bits as one process gives."""
    folder = Path(folder)
    found = Record(folder)
    joined: list[Tally] = []
    header: dict[str, Any] = {"first": 0, "next": 0, "stop": 0, "counted": 0, "skipped": []}
    for rank in range(world):
        head, arrays = record.read_state(folder / f"shard-{rank}-of-{world}.npz")
        if head["next"] < head["stop"]:
            raise StoreError(
                f"shard {rank} of {world} is not finished",
                f"it stands at batch {head['next']} of {head['stop']}",
                "run it again: it goes on",
            )
        shard = []
        for at in range(len(found.facts.layers)):
            one = found.facts.tally(at)
            one.restore({k.removeprefix(f"{at}/"): v for k, v in arrays.items() if k.startswith(f"{at}/")})
            shard.append(one)
        for mine, other in zip(joined, shard, strict=False):
            mine.merge(other)
        joined = joined or shard
        header |= {
            "next": head["stop"],
            "stop": head["stop"],
            "counted": header["counted"] + head["counted"],
            "skipped": header["skipped"] + [s for s in head["skipped"] if s not in header["skipped"]],
        }
    record.write_state(
        folder / "state.npz", header, {f"{at}/{k}": v for at, one in enumerate(joined) for k, v in one.state().items()}
    )
    return Record(folder)


def _flush(*arrays: Any) -> None:
    for array in arrays:
        array.flush()


def _wait_for_all() -> None:
    import torch.distributed as dist

    if not dist.is_initialized():
        dist.init_process_group("gloo")
    dist.barrier()


__all__ = ["Record", "Sweep", "merge"]
