"""Sweeps of tiny collections, made once a net and kept for the tests of `responses/`."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
from torch import nn

from convscope import record
from convscope.data import Collection
from convscope.errors import DataError
from convscope.images import Pixels, Preprocess
from convscope.network import Network
from convscope.responses._study import Study
from convscope.sweep import Sweep
from tests.contracts.leaves import opened

BROKEN = 5  # the number of the image that cannot be read


def collection(count: int, height: int, width: int, channels: int, seed: int = 0) -> Collection:
    """Smooth random images of three classes; image 5 cannot be read, image 7 is image 6 again."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, -(-height // 4), -(-width // 4), channels), np.uint8)
    pixels = coarse.repeat(4, 1).repeat(4, 2)[:, :height, :width]
    if count > 7:
        pixels[7] = pixels[6]

    def read(i: int) -> tuple[Pixels, tuple[str, ...]]:
        if i == BROKEN:
            raise DataError("cannot read it", "the file is cut short")
        return pixels[i], ()

    ids = tuple(f"set/{i:03d}" for i in range(count))
    return Collection("set", ids, np.arange(count) % 3, ("a", "b", "c"), read, np.full(count, pixels[0].nbytes))


def study(net: Network, images: Collection, preprocess: Preprocess, embed: tuple[str, ...], folder: Path) -> Study:
    return Study(Sweep(top=4, batch=8)(net, images, preprocess, folder, embed=embed), net, images, preprocess)


def _remove(folder: Path, owner: int) -> None:
    """A process that was forked off in another test must not clear away what this one still reads."""
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)


@functools.cache
def studied(name: str) -> tuple[nn.Module, Study, tuple[str, ...]]:
    """A net of `tests/nets.py`, a study of sixteen images, and the layers with embeddings: first and last."""
    model, x, net = opened(name)
    layers = [layer.address for layer in record.measurable(net.layers)]
    channels = x.shape[1]
    preprocess = Preprocess(mean=(0.5,), std=(0.25,), channels={1: "L", 3: "RGB"}.get(channels, channels))
    embed = (layers[0], layers[-1])
    folder = Path(tempfile.mkdtemp(prefix="convscope-study-"))
    atexit.register(_remove, folder, os.getpid())
    return model, study(net, collection(16, *x.shape[2:], channels), preprocess, embed, folder), embed
