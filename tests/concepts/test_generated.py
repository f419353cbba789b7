"""Generated concepts: what is drawn is what the name says, where the mask says, at any size and in grey.

Turns red: in `concepts/generated.py`, `rng.uniform(radius, n - 1 - radius)` -> `radius` (always in the corner) · in
`concepts/shapes.py`, `math.cos(a) + self.y` -> `math.cos(a) - self.y` (rising is falling).
"""

from __future__ import annotations

import numpy as np
import pytest

from convscope.concepts import ConceptSet, Example, generated
from convscope.concepts.catalogue import COLOURS, QUARTERS
from convscope.concepts.sets import Concept
from convscope.errors import UsageError

SIZE = (40, 48)
MADE = generated(SIZE, 3, reach=13, images=6, seed=2)


def shown(name: str, made: ConceptSet = MADE) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pixels (H, W, C) in 0 … 1 and masks of every image of a concept."""
    number = [c.name for c in made.concepts].index(name)
    found = [made[i] for i in range(len(made))]
    return [(e.pixels / 255, e.masks[number]) for e in found if number in e.masks]


def same(a: Example, b: Example) -> bool:
    return np.array_equal(a.pixels, b.pixels) and all(np.array_equal(a.masks[c], b.masks[c]) for c in {*a.masks, *b.masks})


def test_the_same_seed_gives_the_same_images_whatever_their_number() -> None:
    again, other = generated(SIZE, 3, 13, images=2, seed=2), generated(SIZE, 3, 13, images=2, seed=3)
    assert all(same(again[i], MADE[i]) for i in range(len(again)))
    assert not any(np.array_equal(other[i].pixels, MADE[i].pixels) for i in range(len(other)))


def test_every_concept_comes_in_both_halves_equally_often() -> None:
    numbers = np.array([next(iter(MADE[i].masks)) for i in range(len(MADE))])
    for c, concept in enumerate(MADE.concepts):
        turns = MADE.half[numbers == c]
        assert len(turns) == (6 if concept.nameable else 12)
        assert turns.mean() == 0.5
    assert len({c.name for c in MADE.concepts}) == len(MADE.concepts)


@pytest.mark.parametrize(("size", "channels", "reach"), [((6, 6), 1, 3), ((8, 8), 1, None), ((28, 28), 1, 5),
                                                         ((20, 14), 4, 9), ((64, 48), 3, 200), ((33, 32), 2, 1)])
def test_any_size_any_channels(size: tuple[int, int], channels: int, reach: int | None) -> None:
    made = generated(size, channels, reach, images=2)
    for i in range(len(made)):
        example = made[i]
        assert example.pixels.shape == (*size, channels)
        assert example.pixels.dtype == np.uint8
        [mask] = example.masks.values()
        assert mask.shape == size
        assert mask.any()
    names = {c.name for c in made.concepts}
    assert ("red" in names) == (channels == 3)
    assert "white" in names
    if channels == 4:
        assert all((made[i].pixels == made[i].pixels[..., :1]).all() for i in range(len(made)))


def test_places_are_drawn_all_over_the_image() -> None:
    spots = shown("light spots ~1.5 px wide", generated(SIZE, 1, 13, images=40))
    rows, columns = np.array([[int(n.mean()) for n in np.nonzero(mask)] for _, mask in spots]).T
    assert rows.std() > 4
    assert columns.std() > 4
    assert len(set(zip(rows.tolist(), columns.tolist(), strict=True))) > 30


@pytest.mark.parametrize("name", [*COLOURS, "black", "white"])
def test_a_colour_is_nearest_to_itself(name: str) -> None:
    all_colours = {**COLOURS, "black": (0.02,) * 3, "white": (0.98,) * 3, "grey": (0.5,) * 3}
    for pixels, mask in shown(name):
        mean = pixels[mask].mean(0)
        nearest = min(all_colours, key=lambda n: float(np.abs(mean - all_colours[n]).sum()))
        assert nearest == name


@pytest.mark.parametrize(("word", "angle"), [("vertical", 0), ("rising (/)", 45), ("horizontal", 90), ("falling (\\)", 135)])
@pytest.mark.parametrize("period", [4, 8])
def test_stripes_have_their_period_and_direction(word: str, angle: int, period: int) -> None:
    """The peak of the spectrum of what lies on the mask: at 1/period, along the stripes' normal (rows grow downwards)."""
    for pixels, mask in shown(f"{word} stripes of period ~{period} px"):
        inside = np.where(mask, pixels.mean(2) - pixels.mean(2)[mask].mean(), 0)
        power = np.abs(np.fft.fft2(inside, (256, 256)))
        y, x = np.unravel_index(power[:, :129].argmax(), (256, 129))
        fy, fx = (y - 256 if y > 128 else y) / 256, x / 256
        assert 1 / np.hypot(fy, fx) == pytest.approx(period, rel=0.2)
        off = (np.degrees(np.arctan2(fy, fx)) - angle + 90) % 180 - 90
        assert abs(off) < 15


def halves(pixels: np.ndarray, mask: np.ndarray) -> tuple[float, float, float, float]:
    """Mean brightness above, below, left and right of the mask's middle, within five pixels."""
    grey = pixels.mean(2)
    y, x = (round(float(n.mean())) for n in np.nonzero(mask))
    near = grey[max(y - 5, 0) : y + 6, max(x - 5, 0) : x + 6]
    return tuple(float(p.mean()) for p in (near[:4], near[-4:], near[:, :4], near[:, -4:]))  # type: ignore[return-value]


def test_edges_are_light_on_the_side_that_is_named() -> None:
    for name, bright, dark in (("vertical edges, light on the right", 3, 2), ("vertical edges, light on the left", 2, 3),
                               ("horizontal edges, light below", 1, 0), ("horizontal edges, light above", 0, 1),
                               ("rising (/) edges, light below", 1, 0), ("rising (/) edges, light below", 3, 2),
                               ("falling (\\) edges, light above", 3, 2)):
        for pixels, mask in shown(name):
            means = halves(pixels, mask)
            assert means[bright] > means[dark] + 0.1, name


def test_corners_are_light_inside_and_named_after_where_they_point() -> None:
    for name, (rows, columns) in QUARTERS.items():
        for tone, sign in (("light", 1), ("dark", -1)):
            for pixels, mask in shown(f"the {name} corner of {tone} areas"):
                y, x = (round(float(n.mean())) for n in np.nonzero(mask))
                grey = pixels.mean(2)
                quarters = {(v, u): grey[y + 3 * v, x + 3 * u] for v in (-1, 1) for u in (-1, 1)}
                inside = quarters.pop((rows, columns))
                assert all(sign * (inside - other) > 0.2 for other in quarters.values())


def test_marks_are_lighter_or_darker_than_what_is_around_them() -> None:
    for concept in MADE.concepts:
        if concept.category in ("line", "spot", "curve"):
            sign = 1 if concept.name.startswith("light") else -1
            for pixels, mask in shown(concept.name):
                y, x = (n.mean() for n in np.nonzero(mask))
                rows, columns = np.indices(SIZE)
                near = (np.hypot(rows - y, columns - x) < 6) & ~mask
                assert sign * (pixels.mean(2)[mask].mean() - pixels.mean(2)[near].mean()) > 0.1, concept


def test_patterns_differ_from_noise_and_textures_stand_out() -> None:
    names = {c.category for c in MADE.concepts}
    assert {"colour", "edge", "line", "stripes", "checks", "dots", "spot", "ring", "cross", "corner", "curve"} < names
    for name, least in (("checks of period ~6 px", 0.2), ("pixel noise", 0.1)):
        assert all(p.mean(2)[mask].std() > least for p, mask in shown(name)), name
    assert all(p.mean(2)[mask].std() < 0.1 for p, mask in shown("plain background"))


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(UsageError, match=r"no concepts can be drawn on 5×9 pixels .*; at least 6×6 .*; give masks of"):
        generated((5, 9), 1, 3)
    with pytest.raises(UsageError, match="a concept needs at least two images; got 1; one half names, the other half tests"):
        generated((9, 9), 1, 3, images=1)
    with pytest.raises(IndexError, match=f"example {len(MADE)} of {len(MADE)}"):
        MADE[len(MADE)]


def test_nothing_has_no_name() -> None:
    assert not Concept("plain background", "nothing").nameable
    assert sum(not c.nameable for c in MADE.concepts) == 2
