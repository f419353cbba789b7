"""colours: zero is white, both sides are equally strong, order survives grey, NaN looks like nothing else.

Mutations that turn it red: `chroma[0] = 0` removed or `np.concatenate([blue[::-1], red])` (zero); one arm made darker than
the other (symmetry); `0.2 + 0.77 * t` reversed (order); the line `rgb[missing] = …` removed (NaN).
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from convscope.draw import colours
from convscope.errors import UsageError


def lightness(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    """CIE 1976 L*, 0 … 100, from the definition."""
    c = rgb / 255
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    y = linear @ [0.2126, 0.7152, 0.0722]
    return np.where(y > 0.008856, 116 * np.cbrt(y) - 16, 903.3 * y)


def test_zero_is_exactly_white_whatever_the_limit() -> None:
    for limit in (0.0, 1e-30, 1.0, 1e30):
        assert colours.diverging([0.0, -0.0], limit).tolist() == [[255, 255, 255]] * 2


def test_below_zero_is_blue_above_is_red_beyond_the_limit_saturates() -> None:
    low, high, lower, higher = colours.diverging([-0.5, 0.5, -np.inf, 9.0], 1.0).astype(int)
    assert low[2] > low[0] + 50
    assert high[0] > high[2] + 50
    assert (lower == colours.DIVERGING[0]).all()
    assert (higher == colours.DIVERGING[-1]).all()
    assert (colours.diverging([-1e-9, 1e-9], 0.0) == colours.DIVERGING[[0, -1]]).all()  # any number is beyond a limit of 0


def test_both_sides_are_equally_dark_and_darken_steadily() -> None:
    light = lightness(colours.DIVERGING)
    assert np.abs(light - light[::-1]).max() < 2.5
    assert (np.diff(light[255:]) <= 0).all()
    assert light[255] == pytest.approx(100)
    assert light[-1] < 30


def test_the_sequential_map_grows_lighter_with_every_step() -> None:
    light = lightness(colours.SEQUENTIAL)
    assert (np.diff(light) > 0).all()
    assert light[0] < 10
    assert light[-1] > 95


def test_neighbours_differ_little_so_that_no_edge_appears() -> None:
    for scale in (colours.DIVERGING, colours.SEQUENTIAL):
        assert np.abs(np.diff(scale.astype(int), axis=0)).max() <= 8


def test_nan_is_a_hatch_of_two_greys_that_no_number_has() -> None:
    values = np.full((3, 8, 8), np.nan)
    for rgb in (colours.diverging(values, 1.0), colours.sequential(values, 0, 1)):
        assert {tuple(c) for c in rgb.reshape(-1, 3).tolist()} == {(128, 128, 128), (168, 168, 168)}
        assert (rgb[0] == rgb[2]).all()  # the same in every map of a stack
    for scale in (colours.DIVERGING, colours.SEQUENTIAL):
        assert not {(128,) * 3, (168,) * 3} & {tuple(c) for c in scale.tolist()}
    values[0, 0, 0] = 0.0
    assert colours.diverging(values, 1.0)[0, 0, 0].tolist() == [255, 255, 255]


def test_sequential_ends_and_a_range_without_width() -> None:
    assert (colours.sequential([-np.inf, 0.0, 1.0, np.inf], 0, 1) == colours.SEQUENTIAL[[0, 0, 255, 255]]).all()
    assert (colours.sequential([2.0, 3.0], 2, 2) == colours.SEQUENTIAL[[0, 255]]).all()


def test_limit_and_bounds_leave_out_what_is_no_number() -> None:
    assert colours.limit([np.nan, -3, np.inf, 2]) == 3
    assert colours.limit([]) == colours.limit([np.nan]) == 0
    assert colours.bounds([np.nan, -3, np.inf, 2]) == (-3, 2)
    assert colours.bounds([]) == (0, 0)
    spike = np.r_[np.linspace(0, 1, 999), 1000]
    assert colours.limit(spike, 0.99) < 1
    assert colours.limit([*[0] * 999, 5.0], 0.99) == 5  # zero nearly everywhere: the rest still shows


@pytest.mark.parametrize("limit", [-1.0, np.nan, np.inf])
def test_a_limit_that_is_none_is_refused(limit: float) -> None:
    with pytest.raises(UsageError, match=r"limit of a signed scale must be .*; got .*; use colours.limit"):
        colours.diverging([1.0], limit)


@pytest.mark.parametrize("ends", [(1, 0), (np.nan, 1), (0, np.inf)])
def test_bounds_that_are_none_are_refused(ends: tuple[float, float]) -> None:
    with pytest.raises(UsageError, match=r"goes from a smaller number to a larger one; got .*; use colours.bounds"):
        colours.sequential([1.0], *ends)


def test_classes_have_different_colours() -> None:
    assert len(set(colours.CLASSES)) == 8
