"""What the writers of an atlas share: what was asked, what it is about, and how a data file is written."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convscope import store
from convscope.atlas.plain import plain
from convscope.data import Collection
from convscope.fields import param, validate
from convscope.images import Preprocess
from convscope.network import Network
from convscope.record import Record

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Settings:
    """How much goes into an atlas."""

    top: int = param(9, "strongest images kept for each unit", low=1, high=100)
    batch: int = param(32, "images per forward pass", low=1)
    pages: int = param(12, "images with a page of their own: maps of every layer and heat-maps", low=0)
    thumbnails: int = param(20000, "most thumbnails kept", low=1)
    points: int = param(2000, "most images on the map of the collection; more are sampled", low=10)
    map_layer: str = param("", "layer whose responses make the map; by default the last one before the output")
    seed: int = param(0, "seed of every sample and of t-SNE")
    features: str = param("top", "units with pictures, projections and effects: the first of each layer, all, or none",
                          choices=("top", "all", "none"))
    units: int = param(16, "how many units of each layer are the first; they are made in groups of eight", low=1)
    layers: str = param("", "layers whose features and studies are made, comma-separated; by default all")
    studies: bool = param(True, "tables about each layer: probes, sparsity, correlation, CKA, invariance, filters")
    minutes: float = param(10.0, "time for features and studies; what is left over is made by the next run; 0: no limit",
                           unit="min", low=0)
    steps: int = param(256, "steps of the ascent for a unit's picture", low=1)
    ablated: int = param(24, "images on which a unit is taken away", low=1)

    def __post_init__(self) -> None:
        validate(self)


@dataclass(frozen=True)
class Work:
    """What the writers of pages share."""

    net: Network
    collection: Collection
    preprocess: Preprocess
    record: Record
    out: Path
    settings: Settings
    report: Progress
    map_layer: str

    def about(self, layer: str) -> bool:
        """Are features and studies of this layer wanted?"""
        return not self.settings.layers or layer in [name.strip() for name in self.settings.layers.split(",")]


def silent(done: int, total: int, text: str) -> None:
    """Nobody watches."""
    del done, total, text


def put(out: Path, key: str, value: Any) -> None:
    """Write `data/KEY.js`."""
    path = out / "data" / f"{key}.js"
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(plain(value), ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace("</", "<\\/")
    with store.atomic(path) as file:
        file.write(f"convscope.put({json.dumps(key)},{text});\n".encode())


