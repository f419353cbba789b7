"""Scenes whose every pixel has a known class: discs, boxes, thin rings and thin crosses on smooth noise.

    pixel = ground + Σ_shapes cover·(texture − ground), the later in front of the earlier
    label = the shape in front that covers at least half of the pixel, else ground

Colour and texture (plain, stripes, checks) are drawn without regard to the class: only the outline tells it. Rings and
crosses are 2.5 to 4.5 pixels thick, so that whoever cannot place an edge to a pixel loses them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convscope.concepts.shapes import Array, cover
from convscope.errors import ShapeError, UsageError
from convscope.images import Pixels
from convscope.planted import smooth

CLASSES = ("ground", "disc", "box", "ring", "cross")
SMALLEST = 24  # pixels a side
APART = 70.0  # least distance of a shape's colour from the ground's, in levels of 0 … 255


@dataclass(frozen=True)
class Labelled:
    """Images and a class for each of their pixels; −1 where it is not known, which then counts nowhere.

    Errors: ShapeError (labels that do not fit the images), UsageError (no images, labels beyond the classes).
    """

    name: str
    pixels: Pixels  # (N, H, W, C) uint8
    labels: NDArray[np.int64]  # (N, H, W) index into `classes`
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.pixels.ndim != 4 or self.pixels.shape[:3] != self.labels.shape:
            raise ShapeError(f"images {self.pixels.shape} and labels {self.labels.shape} do not fit",
                             "images are (N, H, W, C) and labels (N, H, W)", "give a label for every pixel; −1: unknown")
        if len(self.labels) == 0:
            raise UsageError(f"{self.name} holds no images", "N is 0", "give at least one")
        if self.labels.min() < -1 or self.labels.max() >= len(self.classes):
            raise UsageError(f"labels run from {self.labels.min()} to {self.labels.max()}",
                             f"there are {len(self.classes)} classes: 0 … {len(self.classes) - 1}", "name every class")

    def __len__(self) -> int:
        return len(self.labels)


def scenes(count: int, size: int = 64, seed: int = 0) -> Labelled:
    """Draw `count` scenes of size × size pixels in colour, two to four shapes each; a scene depends on seed and number only.

    >>> found = scenes(2, 32)
    >>> found.pixels.shape, found.labels.shape, found.classes[3]
    ((2, 32, 32, 3), (2, 32, 32), 'ring')
    """
    if count < 1 or size < SMALLEST:
        raise UsageError(f"{count} scenes of {size}×{size} pixels cannot be drawn",
                         f"at least one, of {SMALLEST}×{SMALLEST} or more", "64 pixels are usual")
    pixels = np.empty((count, size, size, 3), np.uint8)
    labels = np.zeros((count, size, size), np.int64)
    for n in range(count):
        rng = np.random.default_rng([seed, size, n])
        colour = rng.uniform(60, 196, 3)
        image = colour + 14 * smooth(rng.standard_normal((size, size)))[..., None]
        for _ in range(int(rng.integers(2, 5))):
            kind = int(rng.integers(1, len(CLASSES)))
            ink = cover(_outline(kind, size, rng))
            image += ink[..., None] * (_texture(size, colour, rng) - image)
            labels[n][ink >= 0.5] = kind
        image += rng.normal(0, 5, image.shape)
        pixels[n] = np.clip(np.rint(image), 0, 255)
    return Labelled(f"{count} drawn scenes, seed {seed}", pixels, labels, CLASSES)


def _outline(kind: int, size: int, rng: np.random.Generator) -> Array:
    """Signed distance of every pixel from the border of a shape at a random place, angle and size; negative inside."""
    radius = size * rng.uniform(0.16, 0.27)
    cy, cx = rng.uniform(0.6 * radius, size - 1 - 0.6 * radius, 2)
    angle = rng.uniform(0, math.pi)
    thick = rng.uniform(2.5, 4.5)
    y, x = np.arange(size)[:, None] - cy, np.arange(size)[None] - cx
    u, v = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
    distance = np.hypot(y, x)
    if kind == 1:
        return distance - radius
    if kind == 2:
        return np.maximum(np.abs(u) - radius, np.abs(v) - rng.uniform(0.55, 0.9) * radius)
    if kind == 3:
        return np.abs(distance - radius) - thick / 2
    return np.minimum(np.maximum(np.abs(u) - radius, np.abs(v) - thick / 2),
                      np.maximum(np.abs(v) - radius, np.abs(u) - thick / 2))


def _texture(size: int, ground: Array, rng: np.random.Generator) -> Array:
    """(size, size, 3): one colour, or stripes or checks of two; neither close to the ground's."""
    one, two = (_colour(ground, rng) for _ in range(2))
    y, x = np.arange(size)[:, None], np.arange(size)[None]
    angle, period = rng.uniform(0, math.pi), rng.uniform(4, 8)
    u, v = (x * math.cos(angle) + y * math.sin(angle)) / period, (y * math.cos(angle) - x * math.sin(angle)) / period
    pattern = (np.zeros((size, size)), np.floor(2 * u) % 2, (np.floor(2 * u) + np.floor(2 * v)) % 2)[int(rng.integers(3))]
    return one + pattern[..., None] * (two - one)


def _colour(ground: Array, rng: np.random.Generator) -> Array:
    while True:
        colour = rng.uniform(0, 255, 3)
        if float(np.linalg.norm(colour - ground)) >= APART:
            return colour
