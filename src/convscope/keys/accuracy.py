"""What does the key cost? The same networks trained on plain and on keyed images, from one seed, judged on held-out ones.

    accuracy = right answers / held-out images;  ±: Wilson's 95 % interval (Wilson 1927) of one trained network

`patch_net` has windows that are the blocks: nothing is lost in principle, since W·Qᵀ on keyed images is W on plain ones.
`overlap_net` looks through block borders, where keyed pixels have no neighbours: what it loses is what keys cost a network
that does not fit them. One seed is one draw of weights: small differences say nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convscope import __version__
from convscope.collection import Collection
from convscope.fit import FitSettings, fit
from convscope.images import Pixels, Preprocess
from convscope.keys.key import Key
from convscope.keys.patches import overlap_net, patch_net
from convscope.results import Origin, Table

Progress = Callable[[int, int, str], None]
MEANINGS = {
    "network": "what was trained",
    "images": "plain, or keyed",
    "accuracy": "share of right answers on held-out images",
    "low": "lower end of the 95 % interval for this number of images",
    "high": "its upper end",
    "loss": "cross-entropy on held-out images, nats",
}


@dataclass(frozen=True)
class KeyedReading:
    """A preprocessing with the key after it: what a network trained on keyed images reads. Its repr holds no secret."""

    preprocess: Preprocess
    key: Key

    def __call__(self, image: Pixels) -> NDArray[np.float32]:
        """uint8 (H, W, C) → float32 (C, h, w), keyed."""
        return self.key(self.preprocess(image)[None])[0]


def accuracies(key: Key, images: Collection, preprocess: Preprocess, settings: FitSettings | None = None,
               progress: Progress | None = None) -> Table:
    """Four trainings: two networks, on plain and on keyed images. `preprocess` has a size. Errors: those of `fit`."""
    settings = settings or FitSettings()
    rest, held = images.split(0.2, settings.seed)
    example = preprocess(images[0])
    size, shape = (example.shape[1], example.shape[2]), {"channels": example.shape[0], "classes": len(images.classes)}
    makers = {"patch_net": lambda: patch_net(size=size, block=key.block, seed=settings.seed, **shape),
              "overlap_net": lambda: overlap_net(size=size, seed=settings.seed, **shape)}
    rows: list[tuple[Any, ...]] = []
    notes: list[str] = []
    for name, make in makers.items():
        for what, reading in (("plain", preprocess), ("keyed", KeyedReading(preprocess, key))):
            report = None if progress is None else _report(progress, len(rows), f"{name} on {what} images")
            run = fit(make(), rest, held, reading, settings, report)
            accuracy, loss = float(run.epochs["held_out_accuracy"][-1]), float(run.epochs["held_out_loss"][-1])
            rows.append((name, what, accuracy, *interval(accuracy, len(held)), loss))
            notes += run.notes
    found = {name: np.array(column) for name, column in zip(MEANINGS, zip(*rows, strict=True), strict=True)}
    notes += [f"{len(rest)} images to learn from, {len(held)} held out; {settings.epochs} epochs, seed {settings.seed}",
              "one seed: differences within the intervals say nothing"]
    return Table(columns=found, units=MEANINGS, title=f"accuracy on plain and keyed images, {key.kind}, block {key.block}",
                 notes=tuple(dict.fromkeys(notes)), origin=Origin(repr(settings), "", images.fingerprint, settings.seed,
                                                                  {"convscope": __version__}))


def interval(share: float, count: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share.

    >>> tuple(round(v, 3) for v in interval(0.9, 100))
    (0.826, 0.945)
    """
    z = 1.959964
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return middle - half, middle + half


def _report(progress: Progress, number: int, text: str) -> Progress:
    return lambda done, total, _: progress(number * total + done, 4 * total, f"accuracy: {text}")
