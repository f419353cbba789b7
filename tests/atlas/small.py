"""A small network, a few images of two classes, and their atlas in a few seconds."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import convscope as cs
from convscope.data import Collection, open_collection
from convscope.network import Network

QUICK: dict[str, Any] = {"steps": 2, "ablated": 4, "pages": 1, "points": 20, "batch": 8, "top": 4}
UNITS = 20  # of the first convolution: two groups of eight, which are the first ones, and one of four


def net(seed: int = 0) -> Network:
    """Convolution, batch norm, ReLU, pooling, a second convolution that is read by nobody but a ReLU, a dense layer."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = nn.Sequential(
            nn.Conv2d(1, UNITS, 3, padding=1), nn.BatchNorm2d(UNITS), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(UNITS, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2),
        )  # fmt: skip
    return cs.open(model.eval(), (1, 8, 8), preprocess="unit")


def images(count: int = 24) -> Collection:
    """Bars, lying and standing, in noise."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 90, (count, 8, 8, 1), np.uint8)
    for i in range(count):
        line = int(rng.integers(1, 7))
        pixels[i, line] = 230 if i % 2 else pixels[i, line]
        pixels[i, :, line] = pixels[i, :, line] if i % 2 else 230
    return open_collection([(one, i % 2) for i, one in enumerate(pixels)], name="bars")


def atlas(out: Path, **settings: Any) -> Path:
    """Write the atlas, or go on with it."""
    return cs.atlas(net(), images(), out, **{**QUICK, **settings})


def read(folder: Path, key: str) -> Any:
    """The JSON inside `data/KEY.js`."""
    text = (folder / "data" / f"{key}.js").read_text(encoding="utf-8")
    found = re.fullmatch(r"convscope\.put\((\"[^\"]*\"),(.*)\);\n", text, re.S)
    assert found is not None
    assert json.loads(found[1]) == key
    return json.loads(found[2])


def kept(folder: Path) -> dict[str, Any]:
    """What the jobs have left: file by file, without the time that each took."""
    found = {path: json.loads((folder / path).read_text(encoding="utf-8")) for path in times(folder)}
    spent = ("seconds", "cpu_seconds")
    return {path: {k: v for k, v in one.items() if k not in spent} for path, one in found.items()}


def times(folder: Path) -> dict[str, int]:
    """When each job's file was written."""
    return {p.relative_to(folder).as_posix(): p.stat().st_mtime_ns for p in sorted(folder.glob("jobs/*/*.json"))}
