"""picture: tiles in order, one scale or each its own as stated, captions without what all share, the number drawn said.

Mutations that turn it red: `raster.paint(…, each=False)` always; `rgb[i]` -> `rgb[0]`; `words.shown` dropped; the check of
ranks in `colour` removed.
"""

from __future__ import annotations

import numpy as np
import pytest

from convscope import draw
from convscope.draw import colours
from convscope.draw import picture as drawer
from convscope.errors import ShapeError, UsageError
from convscope.results import Picture

RNG = np.random.default_rng(0)
UNITS = tuple(f"layer4.1.conv2/{i}" for i in range(5))
TILES = RNG.normal(size=(5, 3, 4)) * np.arange(1, 6)[:, None, None]


def words_on(result: Picture) -> list[str]:
    return [t.get_text() for t in result.plot().texts]


def test_tiles_in_order_on_a_shared_scale() -> None:
    result = Picture(tiles=TILES, units=UNITS, signed=True, title="filters", values={"norm": np.arange(5.0)})
    sheet, bar = result.plot().axes
    limit = np.abs(TILES).max()
    for drawn, tile in zip(sheet.images, TILES, strict=True):
        assert (drawn.get_array() == colours.diverging(tile, limit)).all()
    assert bar.get_ylim() == (-limit, limit)
    places = {tuple(drawn.get_extent()) for drawn in sheet.images}
    assert len(places) == 5  # none lies on another
    found = words_on(result)
    said = f"5 tiles of 3×4 · scale ±{limit:.3g}, shared · below each: layer4.1.conv2/unit and norm"
    assert said in " ".join(found)
    assert [w for w in found if "·" in w and "tiles" not in w] == [f"{i} · {i}" for i in range(5)]


def test_each_its_own_scale_and_no_bar() -> None:
    result = Picture(tiles=TILES, units=UNITS, scale="each")
    assert len(result.plot().axes) == 1
    rgb, stated = drawer.colour(result)
    assert stated == "each tile has its own scale, min … max"
    ends = {tuple(c) for c in colours.SEQUENTIAL[[0, -1]].tolist()}
    assert all(ends <= {tuple(c) for c in tile.reshape(-1, 3).tolist()} for tile in rgb)


def test_colours_are_left_as_they_are() -> None:
    tiles = RNG.integers(0, 256, (2, 4, 4, 3)).astype(np.uint8)
    result = Picture(tiles=tiles, units=("a", "b"), scale="rgb")
    assert (drawer.colour(result)[0] == tiles).all()
    assert "colours as they are" in draw.text(result)


def test_a_large_sheet_says_how_many_are_drawn() -> None:
    result = Picture(tiles=np.zeros((300, 2, 2)), units=tuple(map(str, range(300))))
    assert len(result.plot().axes[0].images) == 144
    assert "144 of 300 tiles drawn" in words_on(result)
    assert "60 of 300 tiles listed" in draw.text(result)


def test_missing_numbers_are_hatched_and_left_out_of_the_scale() -> None:
    tiles = TILES.copy()
    tiles[0, 0, 0] = np.nan
    rgb, stated = drawer.colour(Picture(tiles=tiles, units=UNITS, signed=True))
    assert rgb[0, 0, 0].tolist() in colours.HATCH.tolist()
    assert stated.endswith("shared; hatched: no number")


@pytest.mark.parametrize(("tiles", "scale"), [
    (TILES, "rgb"), (np.zeros((2, 3, 3, 3)), "rgb"), (np.zeros((2, 3, 3, 3)), "shared"), (np.zeros((3, 3)), "each")])
def test_tiles_that_do_not_fit_their_scale_are_refused(tiles: np.ndarray, scale: str) -> None:
    with pytest.raises(ShapeError, match=rf"tiles of scale '{scale}' must be \(U, h, w.*; got .*; set the scale"):
        Picture(tiles=tiles, units=UNITS, scale=scale).plot()


def test_an_unknown_scale_is_refused() -> None:
    with pytest.raises(UsageError, match="a picture's scale is 'log'; use 'shared', 'each' or 'rgb'"):
        Picture(tiles=TILES, units=UNITS, scale="log").plot()


def test_long_names_keep_their_unit_and_their_number_stands_below() -> None:
    units = ("features.3.expand1x1/38", "features.3.expand3x3/126")
    many = Picture(tiles=np.zeros((24, 3, 3)), units=units * 12, values={"sum": np.full(24, -0.0528)})
    found = words_on(many)
    assert {"expand1x1/38", "expand3x3/126", "−0.0528"} <= set(found)
    assert "below each: features.3.unit and sum" in " ".join(found)
    apart = Picture(tiles=np.zeros((2, 3, 3)), units=("conv1/1", "block.conv1/2"), values={"sum": np.ones(2)})
    assert {"conv1/1 · 1", "block.conv1/2 · 1"} <= set(words_on(apart))
