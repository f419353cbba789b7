"""Which concepts there are for a network: what can be said of a unit that sees so much of an image, in colour or in grey."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from convscope.concepts import shapes
from convscope.concepts.sets import NOTHING, Concept
from convscope.concepts.shapes import Draw
from convscope.data import open_collection
from convscope.errors import DataError

PERIODS = (3, 4, 6, 8, 12, 16, 24, 32)  # pixels
SCALES = 6  # periods at most
TEXTURES = ("brick", "grass", "gravel")
COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (1.0, 0.0, 0.0), "orange": (1.0, 0.5, 0.0), "yellow": (1.0, 1.0, 0.0), "green": (0.0, 0.8, 0.0),
    "cyan": (0.0, 0.9, 0.9), "blue": (0.0, 0.1, 1.0), "purple": (0.6, 0.0, 0.9), "pink": (1.0, 0.4, 0.7),
}
GREYS = {"black": 0.02, "grey": 0.5, "white": 0.98}
ANGLES = {"vertical": 0, "rising (/)": 45, "horizontal": 90, "falling (\\)": 135}
SIDES = {0: ("right", "left"), 45: ("below", "above"), 90: ("below", "above"), 135: ("below", "above")}
QUARTERS = {"upper left": (1, 1), "upper right": (1, -1), "lower left": (-1, 1), "lower right": (-1, -1)}
WAYS = {"up (∩)": 0, "to the right": 90, "down (∪)": 180, "to the left": 270}
TONES = {"light": 1, "dark": -1}


@dataclass(frozen=True)
class Drawing:
    """A concept and how it is drawn; `colour` is what the ink is mixed into, None for lighter and darker."""

    concept: Concept
    draw: Draw
    colour: tuple[float, float, float] | None = None


def periods(reach: int) -> tuple[int, ...]:
    """The periods, in pixels, that a unit which sees `reach` pixels can tell apart: at most half as much again.

    >>> periods(3), periods(9), periods(200)
    ((3, 4, 6), (3, 4, 6, 8, 12), (3, 4, 8, 12, 24, 32))
    """
    seen = [p for p in PERIODS if p <= max(6, 1.5 * reach)]
    if len(seen) <= SCALES:
        return tuple(seen)
    return tuple(seen[round(i)] for i in np.linspace(0, len(seen) - 1, SCALES))


def catalogue(reach: int, side: int, colour: bool) -> tuple[tuple[Drawing, ...], tuple[str, ...]]:
    """The drawings for units that see `reach` pixels of an image `side` pixels wide, and what had to be left out."""
    scales = [p for p in periods(reach) if p <= side / 2] or [3]
    few = scales[:: max(1, (len(scales) - 1) // 2)][:3]  # the smallest, a middle and a large one
    stroke = max(1.0, few[min(1, len(few) - 1)] / 3)
    textures, notes = _textures()
    found = [*_areas(colour), *_contours(stroke), *_patterns(scales, few), *_marks(few, stroke), *textures]
    nothing = (Drawing(Concept("plain background", NOTHING), shapes.ground()),
               Drawing(Concept("pixel noise", NOTHING), shapes.noise()))
    return (*found, *nothing, *nothing), notes


def _areas(colour: bool) -> list[Drawing]:
    greys = [Drawing(Concept(n, "colour"), shapes.area(), (v, v, v)) for n, v in GREYS.items()]
    if not colour:
        return greys
    return [Drawing(Concept(n, "colour"), shapes.area(), v) for n, v in COLOURS.items()] + greys


def _contours(stroke: float) -> list[Drawing]:
    found: list[Drawing] = []
    for word, angle in ANGLES.items():
        for side, sign in zip(SIDES[angle], (1, -1), strict=True):
            where = f"on the {side}" if angle == 0 else side
            found.append(Drawing(Concept(f"{word} edges, light {where}", "edge"), shapes.edge(angle, sign)))
        for tone, sign in TONES.items():
            name = f"{tone} {word} lines ~{stroke:.0f} px wide"
            found.append(Drawing(Concept(name, "line"), shapes.line(angle, stroke, sign)))
    for tone, sign in TONES.items():
        for word, (down, right) in QUARTERS.items():
            name = f"the {word} corner of {tone} areas"
            found.append(Drawing(Concept(name, "corner"), shapes.corner(down, right, sign)))
        for word, way in WAYS.items():
            found.append(Drawing(Concept(f"{tone} curves bulging {word}", "curve"), shapes.curve(way, stroke, sign)))
    return found


def _patterns(scales: list[int], few: list[int]) -> list[Drawing]:
    found = [Drawing(Concept(f"{word} stripes of period ~{p} px", "stripes"), shapes.stripes(angle, p))
             for p in scales for word, angle in ANGLES.items()]
    for p in few:
        found.append(Drawing(Concept(f"checks of period ~{p} px", "checks"), shapes.checks(p)))
        for tone, sign in TONES.items():
            found.append(Drawing(Concept(f"{tone} dots every ~{p} px", "dots"), shapes.dots(p, sign)))
    return found


def _marks(few: list[int], stroke: float) -> list[Drawing]:
    found: list[Drawing] = []
    for tone, sign in TONES.items():
        for p in few:
            width = max(1.0, p / 2)
            found.append(Drawing(Concept(f"{tone} spots ~{width:.2g} px wide", "spot"), shapes.spot(width, sign)))
        width = max(3.0, 3 * stroke)
        found.append(Drawing(Concept(f"{tone} rings ~{width:.0f} px wide", "ring"), shapes.ring(width, stroke, sign)))
        for word, angle in {"upright (+)": 0, "slanting (×)": 45}.items():
            found.append(Drawing(Concept(f"{tone} {word} crosses", "cross"), shapes.cross(angle, stroke, sign)))
    return found


def _textures() -> tuple[list[Drawing], tuple[str, ...]]:
    """Surfaces among scikit-image's photographs, where it is installed."""
    try:
        photos = open_collection("photos")
    except DataError as error:
        return [], (f"concepts left out: textures ({error.asked}; {error.found})",)
    there = [n for n in TEXTURES if f"photos/{n}.png" in photos.ids]
    found = [Drawing(Concept(n, "texture"), shapes.texture(photos[photos.find(f"photos/{n}.png")].mean(2).astype(np.uint8)))
             for n in there]
    gone = [n for n in TEXTURES if n not in there]
    return found, ((f"concepts left out: {', '.join(gone)} (not in this scikit-image)",) if gone else ())
