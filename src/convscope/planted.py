"""Images whose evidence is known: the class is decided by a small patch alone, whose place is drawn at random.

    image = texture + decoy + patch        texture: smooth noise; decoy: a patch that all classes share; patch: the evidence

Four classes, four striped patches of 8×8 (horizontal, vertical, falling, rising). The decoy, a chequerboard, has their mean
and their contrast and no fewer edges, so that brightness and edges lead to it as readily as to the evidence. Whoever
explains a network that is right on these images must point at the patch: all else is drawn without regard to the class.

After Oramas, Wang, Tuytelaars 2019, "Visual explanation by interpretation", and Yang, Kim 2019, "Benchmarking attribution
methods with relative feature importance", which plant what decides; patterns and noise are our own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convscope.errors import UsageError
from convscope.images import Pixels

CLASSES = ("horizontal", "vertical", "falling", "rising")
SIDE, PATCH = 32, 8  # pixels
COUNT, SEED = 1200, 0  # of the built-in set 'planted'
CONTRAST, TEXTURE, GRAIN = 45.0, 22.0, 6.0  # amplitude of the stripes, deviation of the smooth noise and of the pixel noise


@dataclass(frozen=True)
class Planted:
    """The images, what decides them, and where."""

    pixels: Pixels  # (N, SIDE, SIDE, 1) uint8
    labels: NDArray[np.int64]  # (N,) index into CLASSES
    masks: NDArray[np.bool_]  # (N, SIDE, SIDE) true on the patch that decides
    decoys: NDArray[np.bool_]  # (N, SIDE, SIDE) true on the patch that decides nothing


def patterns() -> NDArray[np.float64]:
    """(5, PATCH, PATCH) of ±1: the four classes, then the decoy.

    >>> patterns().sum((1, 2)).tolist()
    [0.0, 0.0, 0.0, 0.0, 0.0]
    """
    i, j = np.indices((PATCH, PATCH))
    stripes = [i // 2, j // 2, (i - j) // 2, (i + j) // 2, i // 2 + j // 2]
    return np.array([1.0 - 2.0 * (s % 2) for s in stripes])


def plant(count: int = COUNT, seed: int = SEED) -> Planted:
    """Draw `count` images: classes in turn, places and noise at random. The first ones are the same for every count.

    >>> found = plant(8)
    >>> found.pixels.shape, found.masks.sum((1, 2)).tolist()
    ((8, 32, 32, 1), [64, 64, 64, 64, 64, 64, 64, 64])
    """
    if count < 1:
        raise UsageError("a planted set needs at least one image", f"got {count}", f"{COUNT} are usual")
    shapes = patterns()
    pixels = np.empty((count, SIDE, SIDE, 1), np.uint8)
    masks, decoys = np.zeros((2, count, SIDE, SIDE), bool)
    for n in range(count):
        rng = np.random.default_rng([seed, n])
        image = 127.5 + TEXTURE * smooth(rng.standard_normal((SIDE, SIDE)))
        (y, x), (v, u) = places(rng)
        masks[n, y : y + PATCH, x : x + PATCH] = True
        decoys[n, v : v + PATCH, u : u + PATCH] = True
        image[decoys[n]] = 127.5 + CONTRAST * shapes[-1].reshape(-1)
        image[masks[n]] = 127.5 + CONTRAST * shapes[n % len(CLASSES)].reshape(-1)
        image += GRAIN * rng.standard_normal(image.shape)
        pixels[n, :, :, 0] = np.clip(np.rint(image), 0, 255)
    return Planted(pixels, np.arange(count, dtype=np.int64) % len(CLASSES), masks, decoys)


def places(rng: np.random.Generator) -> tuple[tuple[int, int], tuple[int, int]]:
    """Upper left corners of patch and decoy, drawn alike, never overlapping."""
    while True:
        y, x, v, u = (int(k) for k in rng.integers(0, SIDE - PATCH + 1, 4))
        if abs(y - v) >= PATCH or abs(x - u) >= PATCH:
            return (y, x), (v, u)


def smooth(noise: NDArray[np.float64]) -> NDArray[np.float64]:
    """Noise averaged over neighbours (binomial weights, the image closed to a ring), of mean 0 and unit variance."""
    for axis in (0, 1):
        for _ in range(3):
            noise = (np.roll(noise, 1, axis) + 2 * noise + np.roll(noise, -1, axis)) / 4
    return (noise - noise.mean()) / noise.std()
