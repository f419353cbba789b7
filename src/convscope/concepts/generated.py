"""Concept images made on demand: each concept at random places, sizes, phases and contrasts on random ground.

    pixel = ground + a·ink      or, for a colour,      pixel = ground + w·(colour − ground),   w = ink
    ground: a grey level and noise whose amplitude falls as 1/frequency, as in photographs (Field 1987)

The image of a concept depends on the seed, the concept's name, its number and the size only.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from convscope.concepts.catalogue import Drawing, catalogue
from convscope.concepts.sets import ConceptSet, Example
from convscope.concepts.shapes import Array, Place
from convscope.errors import UsageError

GROUNDS = 8  # noise fields, which are then shifted and turned over at random
SMALLEST = 6  # pixels: on less, no shape can be told from another


def generated(size: tuple[int, int], channels: int, reach: int | None, images: int = 24, seed: int = 0) -> ConceptSet:
    """`images` images of each concept, (H, W, channels) uint8, for units that see `reach` pixels of them (None: all).

    In colour for three channels, else in grey, the same in every channel. Images come in turns through the concepts; of
    each concept's, every other one is for testing. Errors: UsageError for sizes on which nothing can be drawn.

    >>> made = generated((32, 32), 1, reach=9, images=2)
    >>> made[0].pixels.shape, made.concepts[0].name
    ((32, 32, 1), 'black')
    """
    height, width = size
    if min(size) < SMALLEST or channels < 1:
        raise UsageError(f"no concepts can be drawn on {height}×{width} pixels with {channels} channels",
                         f"at least {SMALLEST}×{SMALLEST} and one channel are needed", "give masks of your own")
    if images < 2:
        raise UsageError("a concept needs at least two images", f"got {images}", "one half names, the other half tests")
    seen = min(size) if reach is None else min(reach, min(size))
    drawings, notes = catalogue(seen, min(size), channels == 3)
    concepts = tuple(dict.fromkeys(d.concept for d in drawings))
    maker = _Maker(drawings, tuple(concepts.index(d.concept) for d in drawings), (height, width), channels,
                   _radius(seen, min(size)), seed, _grounds(size, seed))
    half = np.arange(images * len(drawings)) // len(drawings) % 2
    return ConceptSet("generated concepts", concepts, half.astype(np.int64), maker, notes)


@dataclass(frozen=True)
class _Maker:
    drawings: tuple[Drawing, ...]
    numbers: tuple[int, ...]  # of each drawing's concept
    size: tuple[int, int]
    channels: int
    radius: float  # pixels that a drawing may fill, on average
    seed: int
    grounds: Array  # (GROUNDS, H, W) of mean 0 and deviation 1

    def __call__(self, i: int) -> Example:
        round_, at = divmod(i, len(self.drawings))
        drawing = self.drawings[at]
        again = self.numbers[:at].count(self.numbers[at])  # a concept may have more than one turn in a round
        rng = np.random.default_rng([self.seed, zlib.crc32(drawing.concept.name.encode()), round_, again])
        radius = min(self.radius * rng.uniform(0.85, 1.15), min(self.size) / 2 - 0.5)
        y, x = (float(rng.uniform(radius, n - 1 - radius)) if n - 1 > 2 * radius else (n - 1) / 2 for n in self.size)
        rows, columns = (np.arange(n, dtype=np.float64) for n in self.size)
        place = Place(rows[:, None] - y, columns[None] - x, radius, rng)
        ink, mask = drawing.draw(place)
        image = self._ground(rng)
        if drawing.colour is None:
            image += rng.uniform(0.28, 0.42) * ink[..., None]
        else:
            towards = np.array(drawing.colour[: self.channels] if self.channels == 3 else drawing.colour[:1])
            towards = towards * rng.uniform(0.85, 1.0) + rng.uniform(0, 0.08)
            image += ink[..., None] * (towards - image)
        return Example(np.clip(np.rint(255 * image), 0, 255).astype(np.uint8), {self.numbers[at]: mask})

    def _ground(self, rng: np.random.Generator) -> Array:
        """(H, W, channels)"""
        noise = self.grounds[rng.integers(GROUNDS)]
        noise = np.roll(noise, [int(rng.integers(0, n)) for n in noise.shape], (0, 1))
        noise = noise[:: rng.choice((-1, 1)), :: rng.choice((-1, 1))]
        grey = rng.uniform(0.42, 0.58) + rng.uniform(0.02, 0.07) * noise
        return np.repeat(grey[..., None], self.channels, 2)


def _radius(reach: int, side: int) -> float:
    """What a unit sees, where that is neither tiny nor most of the image."""
    return float(np.clip(reach, 0.2 * side, 0.4 * side))


def _grounds(size: tuple[int, int], seed: int) -> Array:
    """(GROUNDS, H, W) noise of mean 0, deviation 1 and amplitude 1/frequency."""
    rng = np.random.default_rng([seed, *size])
    fy, fx = np.fft.fftfreq(size[0])[:, None], np.fft.rfftfreq(size[1])[None]
    frequency = np.hypot(fy, fx)
    frequency[0, 0] = np.inf
    white = np.fft.rfft2(rng.standard_normal((GROUNDS, *size)))
    noise = np.fft.irfft2(white / frequency, size)
    return noise / noise.std((1, 2), keepdims=True)
