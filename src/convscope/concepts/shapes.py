"""The drawings behind generated concepts, by signed distance: antialiased, of any size, at any angle.

A drawing gets a `Place` and gives ink (H, W) in −1 … 1, which lightens or darkens the ground, and the mask (H, W) of where
the concept is. Angles: 0° is a vertical line, 45° a rising one (/), 90° a horizontal one, 135° a falling one (\\).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Drawn = tuple[Array, NDArray[np.bool_]]
Draw = Callable[["Place"], Drawn]


@dataclass(frozen=True)
class Place:
    """Where to draw: coordinates of every pixel from the centre, the radius that may be filled, and chance."""

    y: Array  # (H, 1)
    x: Array  # (1, W)
    radius: float
    rng: np.random.Generator

    @property
    def distance(self) -> Array:
        return np.hypot(self.y, self.x)

    @property
    def window(self) -> Array:
        """1 in the middle, falling softly to 0 over the last third: no border of its own."""
        t = np.clip((self.radius - self.distance) / (self.radius / 3), 0, 1)
        return t * t * (3 - 2 * t)

    def turned(self, angle: float, jitter: float = 5.0) -> tuple[Array, Array]:
        """Distance from a line through the centre at this angle (degrees, a little more or less), and the way along it."""
        a = math.radians(angle + self.rng.uniform(-jitter, jitter))
        return self.x * math.cos(a) + self.y * math.sin(a), self.y * math.cos(a) - self.x * math.sin(a)

    def about(self, length: float, share: float = 0.08) -> float:
        """A length, a little more or less."""
        return length * self.rng.uniform(1 - share, 1 + share)

    def mark(self, shape: Array, sign: int) -> Array:
        """A light shape on dark ground, or a dark one on light: the same contrast as an edge has."""
        return sign * (2 * shape - 1) * self.window

    def within(self, share: float) -> NDArray[np.bool_]:
        """The disc of this share of the radius; the middle pixel at least."""
        return self.distance <= max(share * self.radius, self.distance.min())


def cover(distance: Any) -> Any:
    """How much of a pixel lies inside a shape whose border is that far away (negative: inside)."""
    return np.clip(0.5 - distance, 0, 1)


def area(share: float = 0.7) -> Draw:
    """A soft disc."""
    return lambda at: (at.window, at.within(share))


def edge(angle: float, sign: int) -> Draw:
    """Light on one side, dark on the other: for sign 1 the side to which the angle's normal points (right, below)."""

    def draw(at: Place) -> Drawn:
        across, along = at.turned(angle)
        near = (np.abs(across) <= max(1.0, 0.15 * at.radius)) & (np.abs(along) <= max(0.5, 0.6 * at.radius))
        return at.mark(cover(-across), sign), near

    return draw


def line(angle: float, width: float, sign: int) -> Draw:
    """A light or dark line."""

    def draw(at: Place) -> Drawn:
        across, along = at.turned(angle)
        half = at.about(width) / 2
        mask = (np.abs(across) <= half + 0.5) & (np.abs(along) <= max(0.5, 0.6 * at.radius))
        return at.mark(cover(np.abs(across) - half), sign), mask

    return draw


def stripes(angle: float, period: float) -> Draw:
    """Light and dark stripes of equal width; round or sharp, at any phase."""

    def draw(at: Place) -> Drawn:
        across, _ = at.turned(angle)
        wave = np.sin(2 * math.pi * (across / at.about(period) + at.rng.uniform()))
        sharp = at.rng.uniform(0.5, 3.0)
        return np.tanh(sharp * wave) / math.tanh(sharp) * at.window, at.within(0.75)

    return draw


def checks(period: float) -> Draw:
    """A chequerboard whose squares are half a period wide."""

    def draw(at: Place) -> Drawn:
        u, v = at.turned(0)
        p = at.about(period)
        a, b = (np.sin(2 * math.pi * (w / p + at.rng.uniform())) for w in (u, v))
        return np.tanh(3 * a) * np.tanh(3 * b) * at.window, at.within(0.75)

    return draw


def dots(period: float, sign: int) -> Draw:
    """Dots in rows and columns, half a period wide."""

    def draw(at: Place) -> Drawn:
        u, v = at.turned(0)
        p = at.about(period)
        a, b = ((w / p + at.rng.uniform()) % 1 - 0.5 for w in (u, v))
        return at.mark(cover(np.hypot(a, b) * p - p / 4), sign), at.within(0.75)

    return draw


def spot(width: float, sign: int) -> Draw:
    """One disc."""

    def draw(at: Place) -> Drawn:
        half = at.about(width) / 2
        return at.mark(cover(at.distance - half), sign), at.distance <= max(half, at.distance.min())

    return draw


def ring(width: float, stroke: float, sign: int) -> Draw:
    """A circle, drawn with a pen."""

    def draw(at: Place) -> Drawn:
        half = at.about(width) / 2
        return at.mark(cover(np.abs(at.distance - half) - stroke / 2), sign), at.distance <= half + stroke / 2

    return draw


def cross(angle: float, stroke: float, sign: int) -> Draw:
    """Two lines across each other: + at 0°, × at 45°."""

    def draw(at: Place) -> Drawn:
        u, v = at.turned(angle)
        arm = 0.6 * at.radius
        bars = [np.maximum(np.abs(a) - stroke / 2, np.abs(b) - arm) for a, b in ((u, v), (v, u))]
        return at.mark(cover(np.minimum(*bars)), sign), np.maximum(np.abs(u), np.abs(v)) <= max(1.0, 0.5 * arm)

    return draw


def corner(down: int, right: int, sign: int) -> Draw:
    """A right angle: the quarter that lies below (down = 1) or above, and right (right = 1) or left, is light, or dark."""

    def draw(at: Place) -> Drawn:
        u, v = at.turned(0)
        inside = np.minimum(u * right, v * down)
        near = np.maximum(np.abs(u), np.abs(v)) <= max(1.0, 0.3 * at.radius)
        return at.mark(cover(-inside), sign), near

    return draw


def curve(way: float, stroke: float, sign: int) -> Draw:
    """A third of a circle that bulges towards `way`: 0° up, 90° right, 180° down, 270° left."""

    def draw(at: Place) -> Drawn:
        a = math.radians(way + at.rng.uniform(-8, 8))
        bend = at.about(0.7 * at.radius, 0.15)
        # The circle's own middle lies behind the patch's, so that the arc goes through the middle of the patch.
        y, x = at.y - bend / 2 * math.cos(a), at.x + bend / 2 * math.sin(a)
        off = np.hypot(y, x) - bend
        ahead = (-y * math.cos(a) + x * math.sin(a)) >= 0.4 * bend
        line = np.abs(off) <= stroke / 2 + 0.5
        return at.mark(cover(np.abs(off) - stroke / 2) * ahead, sign), line & ahead

    return draw


def noise() -> Draw:
    """Every pixel by itself."""

    def draw(at: Place) -> Drawn:
        return at.rng.uniform(-1, 1, at.distance.shape) * at.window, at.within(0.75)

    return draw


def ground() -> Draw:
    """Nothing at all: the background itself."""
    return lambda at: (np.zeros(at.distance.shape), at.within(0.75))


def texture(pixels: NDArray[np.uint8]) -> Draw:
    """A piece of a photographed surface (h, w), two to eight of its pixels to one, of equal contrast everywhere."""

    def draw(at: Place) -> Drawn:
        step = int(at.rng.integers(1, 4))
        h, w = at.y.shape[0], at.x.shape[1]
        small = _shrunk(pixels.astype(np.float64), step)
        top, left = (int(at.rng.integers(0, n)) for n in small.shape)
        piece = np.take(np.take(small, range(top, top + h), 0, mode="wrap"), range(left, left + w), 1, mode="wrap")
        inside = at.within(1.0)
        spread = max(float(piece[inside].std()), 1e-6)
        return np.clip((piece - piece[inside].mean()) / (2 * spread), -1, 1) * at.window, at.within(0.75)

    return draw


def _shrunk(pixels: Array, step: int) -> Array:
    """Means over squares of step × step."""
    h, w = (n // step * step for n in pixels.shape)
    return pixels[:h, :w].reshape(h // step, step, w // step, step).mean((1, 3))
