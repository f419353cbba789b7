"""The record of a sweep: what every unit of every measured layer did over a collection. A folder, read with or without
torch's help.

record.json           what was swept: network, collection, settings, image ids and labels
state.npz             the tallies of all layers (tally.py); `shard-0-of-2.npz` … while several processes are at work
embeddings-*.npy      per chosen layer one row an image: the mean of each unit's map
predictions.npy       the five highest classes of each image
"""

from __future__ import annotations

import functools
import json
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convscope import addresses, store, tally
from convscope.errors import StoreError, unknown
from convscope.results import Layer, Origin, Table
from convscope.tally import Arrays, Tally

LEVELS = np.array([0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99])
PREDICTION = np.dtype([("index", "<i4", 5), ("probability", "<f4", 5), ("seen", "?")])
MEANINGS = {
    "mean": "mean over all images and positions",
    "deviation": "standard deviation over all images and positions",
    "minimum": "smallest value anywhere",
    "maximum": "largest value anywhere",
    "zeros": "share of exact zeros among {sampled} sampled positions an image, 0 … 1",
    "fires": "share of values above zero among {sampled} sampled positions an image, 0 … 1",
    "selectivity":
    "(m − o)/(|m| + |o|): mean response to the preferred class against the mean of the others' (Morcos et al. 2018), "
    "0 … 1 for responses that are not negative",
    "preferred": "class with the largest mean response, as an index; −1 where labels are unknown",
}


@dataclass(frozen=True)
class Facts:
    """What a sweep was asked: must agree exactly before a stopped one is taken up again."""

    network: str
    collection: str
    layers: tuple[str, ...]
    units: tuple[int, ...]
    maps: tuple[tuple[int, ...] | None, ...]
    top: int
    batch: int
    measure: str
    embed: tuple[str, ...]
    classes: int
    images: int

    def tally(self, at: int) -> Tally:
        """An empty tally for the layer number `at`."""
        return Tally(self.units[at], self.top, self.classes, self.measure == "all", tally.positions_for(self.images))


class Record:
    """A finished (or partly finished) sweep on disk."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        try:
            self.about: dict[str, Any] = json.loads((self.folder / "record.json").read_text(encoding="utf-8"))
            self.facts = Facts(**{k: _tuples(v) for k, v in self.about["facts"].items()})
            self.ids: tuple[str, ...] = tuple(self.about["ids"])
            self.labels: NDArray[np.int64] = np.array(self.about["labels"], np.int64)
            self.classes: tuple[str, ...] = tuple(self.about["classes"])
        except (OSError, ValueError, KeyError, TypeError) as problem:
            raise StoreError(
                f"no record in {self.folder}", str(problem), "make one: convscope respond NETWORK --images DIR --out FOLDER"
            ) from problem

    @functools.cached_property
    def _state(self) -> tuple[dict[str, Any], Arrays]:
        return read_state(self.folder / "state.npz")

    @property
    def done(self) -> bool:
        return (self.folder / "state.npz").exists() and self._state[0]["next"] >= self._state[0]["stop"]

    @property
    def counted(self) -> int:
        """Images that were measured."""
        return int(self._state[0]["counted"])

    @property
    def skipped(self) -> list[tuple[str, str]]:
        return [(i, reason) for i, reason in self._state[0]["skipped"]]

    def tally(self, layer: str) -> Tally:
        """One layer's raw tally."""
        if layer not in self.facts.layers:
            raise unknown("measured layer", layer, self.facts.layers, "name it in --layers when sweeping")
        at = self.facts.layers.index(layer)
        made = self.facts.tally(at)
        prefix = f"{at}/"
        made.restore({k.removeprefix(prefix): v for k, v in self._state[1].items() if k.startswith(prefix)})
        return made

    def table(self, layer: str) -> Table:
        """What did each unit of this layer do? One row a unit."""
        found = self.tally(layer)
        columns: dict[str, NDArray[Any]] = {"unit": np.arange(found.units)}
        units = {"unit": f"address {layer}/unit"}
        total = found.tree.total()
        if total is not None:
            spread = np.sqrt(total["m2"] / np.maximum(total["count"], 1))
            columns |= {"mean": total["mean"], "deviation": spread}
        columns |= {"maximum": found.value[:, 0]}
        if found.full and total is not None:
            histogram = found.histogram.numpy().reshape(found.units, tally.BINS)
            seen = np.maximum(histogram.sum(1), 1)
            zero = tally.BINS // 2
            columns |= {
                "minimum": found.minimum,
                "zeros": histogram[:, zero] / seen,
                "fires": histogram[:, zero + 1 :].sum(1) / seen,
            }
            columns |= {"quantiles": tally.quantiles(histogram, LEVELS)}
            units["quantiles"] = (
                "at "
                + ", ".join(f"{level:g}" for level in LEVELS)
                + "; within 6.25 % (log-binned histogram of the sampled positions)"
            )
        if total is not None and "class_sum" in total:
            means = class_means(total)
            columns |= {
                "selectivity": selectivity(means),
                "preferred": np.where(np.isnan(means).all(0), -1, np.nan_to_num(means, nan=-np.inf).argmax(0)),
            }
            columns["class_means"] = means.T
            units["class_means"] = "mean response to the images of each class"
        columns |= {"top_image": found.image, "top_value": found.value, "top_position": found.position}
        sampled = found.positions
        units |= {k: v.replace("{sampled}", str(sampled)) for k, v in MEANINGS.items() if k in columns}
        units |= {
            "top_image": f"numbers of the {found.k} images with the largest response, falling; −1: there are fewer images",
            "top_value": "their largest response",
            "top_position": "where it was: flat position in the map, row by row",
        }
        notes = [f"{self.counted:,} images measured"] + ([f"{len(self.skipped)} could not be used"] if self.skipped else [])
        return Table(
            columns=columns,
            units=units,
            title=f"units of {layer}",
            notes=tuple(notes),
            origin=Origin(**self.about["origin"]),
        )

    def embeddings(self, layer: str) -> NDArray[np.float32]:
        """(N, U): one row an image, memory-mapped; NaN rows for images that could not be used."""
        path = embedding_file(self.folder, layer)
        if not path.exists():
            raise unknown("embedded layer", layer, self.facts.embed, "name it in --embed when sweeping")
        return np.load(path, mmap_mode="r", allow_pickle=False)

    def predictions(self) -> NDArray[Any]:
        """(N,) of PREDICTION: the five highest outputs of each image and their probabilities."""
        return np.load(self.folder / "predictions.npy", mmap_mode="r", allow_pickle=False)


def class_means(total: Arrays) -> NDArray[np.float64]:
    """(K, U) mean response to the images of each class; NaN for a class without images."""
    seen = total["class_count"]
    return np.divide(total["class_sum"], seen, out=np.full_like(total["class_sum"], np.nan), where=seen > 0)


def selectivity(means: NDArray[np.float64]) -> NDArray[np.float64]:
    """(U,) from (K, U): preferred class against the mean of the others. NaN with fewer than two classes."""
    known = ~np.isnan(means).all(1)
    if known.sum() < 2:
        return np.full(means.shape[1], np.nan)
    kept = means[known]
    best = kept.max(0)
    others = (kept.sum(0) - best) / (len(kept) - 1)
    scale = np.abs(best) + np.abs(others)
    return np.divide(best - others, scale, out=np.zeros_like(scale), where=scale > 0)


def embedding_file(folder: Path, layer: str) -> Path:
    return folder / f"embeddings-{addresses.slug(layer)}.npy"


def measurable(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    """The layers that have units and do more than move or repeat what the layer before them computed."""
    return tuple(layer for layer in layers if layer.unit_axis is not None and layer.operator not in _MOVES)


_MOVES = frozenset(
    {
        "reshape",
        "flatten",
        "permute",
        "transpose",
        "dropout",
        "squeeze",
        "unsqueeze",
        "expand",
        "slice",
        "select",
        "split",
        "chunk",
    }
)


def write_state(path: Path, header: dict[str, Any], arrays: Arrays) -> None:
    """Header and arrays under one name, all or nothing; packed once the sweep is done, since histograms are mostly zeros."""
    write = np.savez_compressed if header.get("next", 0) >= header.get("stop", 1) else np.savez
    with store.atomic(path) as file:
        write(file, __header__=np.frombuffer(json.dumps(header).encode(), np.uint8), **arrays)  # type: ignore[arg-type]


def read_state(path: Path) -> tuple[dict[str, Any], Arrays]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {k: archive[k] for k in archive.files}
        return json.loads(arrays.pop("__header__").tobytes()), arrays
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as problem:
        raise StoreError(f"cannot read {path}", str(problem), "sweep again into an empty folder") from problem


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value
