"""Train on keyed images as they are stored: the trainer never sees a picture, nor the key.

A network whose first windows are the key's blocks learns as well as on plain images; others learn what they can
(`accuracy.py`). The folder holds a checkpoint to go on from, weights.safetensors, classes.txt and run.npz.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from convscope import opening, store
from convscope.errors import DataError
from convscope.fit import FitSettings, fit
from convscope.keys import stored
from convscope.network import Network
from convscope.results import Run

Progress = Callable[[int, int, str], None]


def fit_keyed(network: Any, path: str | Path, out: Path | None = None, held_out: float = 0.2,
              settings: FitSettings | None = None, progress: Progress | None = None) -> tuple[Network, Run]:
    """Train a copy of `network` on the keyed images of a file. Errors: DataError (they do not fit it), those of `fit`."""
    settings = settings or FitSettings()
    source, images = opening.find(network), stored.open_keyed(path)
    module = source.module if source.ours else copy.deepcopy(source.module)
    rest, held = images.split(held_out, settings.seed)
    example = torch.from_numpy(stored.as_stored(images[0]))[None]
    net = Network.open(module, example, source.name, classes=images.classes)
    if net.output.output_shape[1:] != (len(images.classes),):
        raise DataError(f"{len(images.classes)} classes do not fit this network",
                        f"its output is {net.output.output_shape}", "give it as many outputs")
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    run = fit(module, rest, held, stored.as_stored, settings, progress, None if out is None else out / "checkpoint.pt")
    if out is not None:
        from safetensors.torch import save

        with store.atomic(out / "weights.safetensors") as file:
            file.write(save({k: v.contiguous() for k, v in module.state_dict().items()}))
        with store.atomic(out / "classes.txt") as file:
            file.write("\n".join(images.classes).encode())
        store.write(run, out / "run.npz")
    return Network.open(module, example, source.name, classes=images.classes), run
