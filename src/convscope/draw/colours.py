"""Numbers to colours, in NumPy alone: a signed map around zero, a sequential one, and a hatch where there is no number.

Both maps are laid out in OKLab (Ottosson 2020, "A perceptual color space for image processing"; equal steps look equal):

    diverging    white at exactly zero; blue below, red above; +t and −t are equally dark, so strength survives a grey print
    sequential   dark indigo, teal, pale yellow; lightness grows in equal steps, so order survives a grey print

Blue with red, and indigo with yellow, stay apart for the common colour-vision deficiencies; nothing rests on red with green.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from convscope.errors import UsageError

RGB = NDArray[np.uint8]
STEPS = 255  # colours on each side of zero


def _linear(lightness: NDArray[Any], chroma: NDArray[Any], hue: NDArray[Any]) -> NDArray[Any]:
    """OKLab in polar form, hue in degrees, to linear sRGB; outside [0, 1] there is no such colour on a screen."""
    a, b = chroma * np.cos(np.deg2rad(hue)), chroma * np.sin(np.deg2rad(hue))
    cones = np.stack([lightness + 0.3963377774 * a + 0.2158037573 * b, lightness - 0.1055613458 * a - 0.0638541728 * b,
                      lightness - 0.0894841775 * a - 1.2914855480 * b], axis=-1) ** 3
    return cones @ np.array([[4.0767416621, -3.3077115913, 0.2309699292], [-1.2684380046, 2.6097574011, -0.3413193965],
                             [-0.0041960863, -0.7034186147, 1.7076147010]]).T


def _strongest(lightness: NDArray[Any], hue: NDArray[Any]) -> NDArray[Any]:
    """The largest chroma that a screen can show at each lightness and hue."""
    steps = np.linspace(0, 0.3, 301)
    rgb = _linear(lightness[:, None], steps, hue[:, None])
    possible = ((rgb > -1e-4) & (rgb < 1 + 1e-4)).all(axis=-1)
    return steps[np.argmin(possible, axis=1) - 1]


def _smooth(chroma: NDArray[Any]) -> NDArray[Any]:
    """A moving average: a corner in the chroma would be seen as an edge that the data do not have."""
    return np.convolve(np.pad(chroma, 30, mode="edge"), np.full(61, 1 / 61), mode="valid")


def _srgb(lightness: NDArray[Any], chroma: NDArray[Any], hue: NDArray[Any]) -> RGB:
    linear = np.clip(_linear(lightness, chroma, hue), 0, 1)
    light = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.rint(light * 255).astype(np.uint8)


def _diverging() -> RGB:
    t = np.linspace(0, 1, STEPS + 1)
    lightness = 1 - 0.65 * t
    hues = [np.full_like(t, 256.0), np.full_like(t, 27.0)]  # blue, red
    # As much chroma as both hues can have, so that neither side looks stronger.
    chroma = _smooth(np.minimum(0.16, 0.92 * np.minimum(*(_strongest(lightness, hue) for hue in hues))))
    chroma[0] = 0
    blue, red = (_srgb(lightness, chroma, hue) for hue in hues)
    return np.concatenate([blue[:0:-1], red])


def _sequential() -> RGB:
    t = np.linspace(0, 1, 256)
    lightness, hue = 0.2 + 0.77 * t, 288 - 182 * t  # indigo, teal, yellow
    return _srgb(lightness, _smooth(np.minimum(0.12, 0.92 * _strongest(lightness, hue))), hue)


DIVERGING: RGB = _diverging()  # (511, 3), white in the middle
SEQUENTIAL: RGB = _sequential()  # (256, 3)
# Eight colours for classes that stay apart for colour-blind readers (Okabe and Ito 2008, "Color Universal Design").
CLASSES = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9", "#cc79a7", "#000000", "#b8a800")
HATCH: RGB = np.array([[128, 128, 128], [168, 168, 168]], np.uint8)  # two greys that neither map contains


def limit(values: Any, coverage: float = 1.0) -> float:
    """The number to scale a signed map by: max |v|, or the `coverage` quantile of |v| where outliers would hide the rest.

    Not-a-numbers are left out. If the quantile is 0 (a map that is zero nearly everywhere), max |v| is taken.

    >>> limit([-2.0, 1.0, np.nan])
    2.0
    """
    size = np.abs(np.asarray(values, np.float64))
    size = size[np.isfinite(size)]
    if not size.size:
        return 0.0
    return float(np.quantile(size, coverage) or size.max())


def bounds(values: Any) -> tuple[float, float]:
    """The smallest and largest number, for `sequential`. (0, 0) if there is none.

    >>> bounds([3.0, np.nan, 1.0])
    (1.0, 3.0)
    """
    numbers = np.asarray(values, np.float64)
    numbers = numbers[np.isfinite(numbers)]
    return (float(numbers.min()), float(numbers.max())) if numbers.size else (0.0, 0.0)


def diverging(values: Any, limit: float) -> RGB:
    """Signed numbers to blue, white, red: (…) to (…, 3) uint8. Zero is white; ±`limit` and beyond are the ends.

    NaN becomes a grey hatch along the last two axes. Raises UsageError unless 0 ≤ `limit` < ∞.

    >>> diverging([0.0, -1.0, 1.0], limit=1.0).tolist()
    [[255, 255, 255], [3, 57, 117], [106, 24, 22]]
    """
    if not 0 <= limit < np.inf:
        raise UsageError("the limit of a signed scale must be a number of at least 0", f"got {limit}",
                         "use colours.limit(values)")
    v = np.asarray(values, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(v == 0, 0.0, v / limit)  # with limit 0 every other number is beyond the end
    return _hatched(DIVERGING[_index(t, STEPS) + STEPS], v)


def sequential(values: Any, low: float, high: float) -> RGB:
    """Numbers to dark … light: (…) to (…, 3) uint8. `low` and below are dark, `high` and above light.

    NaN becomes a grey hatch along the last two axes. Raises UsageError unless −∞ < `low` ≤ `high` < ∞.

    >>> sequential([0.0, 1.0], 0.0, 1.0).sum(axis=-1).tolist()
    [93, 664]
    """
    if not -np.inf < low <= high < np.inf:
        raise UsageError("a sequential scale goes from a smaller number to a larger one", f"got {low} … {high}",
                         "use colours.bounds(values)")
    v = np.asarray(values, np.float64)
    t = (v - low) / (high - low) if high > low else np.where(v > high, 1.0, 0.0)
    return _hatched(SEQUENTIAL[_index(np.clip(t, 0, 1), 255)], v)


def _index(t: NDArray[Any], steps: int) -> NDArray[np.intp]:
    return np.rint(np.clip(np.nan_to_num(t, nan=0.0, posinf=1.0, neginf=-1.0), -1, 1) * steps).astype(np.intp)


def _hatched(rgb: RGB, values: NDArray[Any]) -> RGB:
    missing = np.isnan(values)
    if missing.any():
        stripes = np.zeros(values.shape, np.intp)
        for axis in range(max(values.ndim - 2, 0), values.ndim):  # diagonal stripes, two pixels wide
            steps = np.arange(values.shape[axis]).reshape([-1 if a == axis else 1 for a in range(values.ndim)])
            stripes = stripes + steps
        rgb[missing] = HATCH[(stripes // 2 % 2)[missing]]
    return rgb
