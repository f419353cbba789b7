"""Pixels for the page and for pictures in figures: overlays, sheets of tiles, PNG bytes. NumPy and Pillow, no matplotlib."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from convscope.draw import colours
from convscope.draw.colours import RGB
from convscope.errors import ShapeError, UsageError


def png(rgb: RGB) -> bytes:
    """An (H, W, 3) uint8 picture as the bytes of a PNG file. The same picture gives the same bytes."""
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or 0 in rgb.shape:
        raise ShapeError("a picture must be (H, W, 3) uint8 and not empty", f"got {rgb.shape} {rgb.dtype}",
                         "colour numbers with draw.colours first")
    stream = io.BytesIO()
    Image.fromarray(rgb).save(stream, "PNG", compress_level=6)
    return stream.getvalue()


def jpeg(rgb: RGB, quality: int = 88) -> bytes:
    """An image (H, W, 3) as JPEG: an eighth of a PNG's size where it is a photograph."""
    stream = io.BytesIO()
    Image.fromarray(rgb).save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def grey(image: RGB) -> RGB:
    """The brightness of an (H, W, 3) picture (Rec. 601) as three equal channels: colour is free to mean something else."""
    brightness = np.rint(image @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)
    return np.repeat(brightness[..., None], 3, axis=-1)


def heat_over(image: RGB, map: NDArray[Any], limit: float, opacity: float = 0.85) -> RGB:
    """A signed (H, W) map over its (H, W, 3) image, both at once: (H, W, 3) uint8.

    The image goes to grey and is faded; each pixel takes `opacity·√|v/limit|` of a colour of the diverging map, blue or red,
    never paler than its middle. So where the map is zero the image shows; where it is ±`limit` or beyond, nearly only the
    colour. NaN is hatched. It misleads if read for numbers: the image's darkness mixes in. Put the plain map beside it.
    """
    if image.shape[:2] != map.shape:
        raise ShapeError(f"a map of {map.shape} does not lie on an image of {image.shape[:2]}", "", "resize one of them")
    if not 0 <= opacity <= 1:
        raise UsageError("opacity must be in [0, 1]", f"got {opacity}", "0 shows the image alone")
    # The picture keeps its structure but loses contrast, so that mild colours stay visible on black.
    under = 70 + grey(image).astype(np.float64) * (185 / 255)
    v = np.abs(np.asarray(map, np.float64))
    with np.errstate(divide="ignore", invalid="ignore"):
        strength = np.clip(np.where(v == 0, 0.0, v / limit), 0, 1)
    over = colours.diverging(np.where(np.isnan(v), np.nan, np.copysign(np.maximum(strength, 0.5), map)), 1.0)
    alpha = opacity * np.where(np.isnan(v), 1.0, np.sqrt(strength))[..., None]
    return np.rint(under * (1 - alpha) + over * alpha).astype(np.uint8)


def enlarge(tiles: NDArray[Any], least: int) -> NDArray[Any]:
    """Tiles (U, h, w[, 3]) repeated pixel by pixel until the longer side has at least `least`. Nothing is interpolated.

    >>> enlarge(np.zeros((1, 5, 3)), least=12).shape
    (1, 15, 9)
    """
    factor = max(1, -(-least // max(tiles.shape[1:3])))
    return tiles if factor == 1 else tiles.repeat(factor, axis=1).repeat(factor, axis=2)


def sheet(tiles: RGB, columns: int | None = None, *, gap: int = 1, least: int = 1, ground: int = 255) -> RGB:
    """Tiles (U, h, w, 3) side by side, row by row, `gap` pixels of the grey `ground` between them: (H, W, 3) uint8.

    Without `columns` the sheet comes out about square. Tiles smaller than `least` are enlarged by a whole factor.
    Tile `u` of the enlarged size (h, w) begins at row `(u // columns)·(h + gap)`, column `(u % columns)·(w + gap)`.

    >>> sheet(np.zeros((5, 4, 4, 3), np.uint8), columns=3).shape
    (9, 14, 3)
    """
    if tiles.ndim != 4 or tiles.shape[3] != 3 or tiles.dtype != np.uint8 or 0 in tiles.shape:
        raise ShapeError("tiles must be (U, h, w, 3) uint8 and not empty", f"got {tiles.shape} {tiles.dtype}",
                         "colour numbers with draw.colours first")
    tiles = enlarge(tiles, least)
    u, h, w, _ = tiles.shape
    across = min(u, columns or columns_for(u, h, w))
    rows = -(-u // across)
    out = np.full((rows * (h + gap), across * (w + gap), 3), ground, np.uint8)
    for i, tile in enumerate(tiles):
        y, x = i // across * (h + gap), i % across * (w + gap)
        out[y:y + h, x:x + w] = tile
    return out[:rows * (h + gap) - gap, :across * (w + gap) - gap]


def columns_for(u: int, h: int = 1, w: int = 1, aspect: float = 1.0) -> int:
    """How many columns make `u` tiles of (h, w) about `aspect` times as wide as high?

    >>> columns_for(96)
    10
    """
    return int(np.clip(np.ceil(np.sqrt(u * aspect * h / w)), 1, u))


def paint(tiles: NDArray[Any], *, signed: bool, each: bool = False) -> tuple[RGB, str]:
    """Numbers (U, h, w) to colours (U, h, w, 3), and the words that state the scale.

    >>> paint(np.array([[[-2.0, 1.0]]]), signed=True)[1]
    'scale ±2, shared'
    """
    if each:
        words = f"each tile has its own scale, {'±max |v|' if signed else 'min … max'}"
        return np.stack([_painted(tile, signed) for tile in tiles]), words
    low, high = colours.bounds(tiles)
    words = f"scale ±{colours.limit(tiles):.3g}, shared" if signed else f"scale {low:.3g} … {high:.3g}, shared"
    return _painted(tiles, signed), words


def _painted(values: NDArray[Any], signed: bool) -> RGB:
    if signed:
        return colours.diverging(values, colours.limit(values))
    return colours.sequential(values, *colours.bounds(values))
