"""raster: tiles land where the docstring says, a zero map shows the image, PNG bytes read back.

Mutations that turn it red: `i % across` with `rows` (places); `(1 - alpha)` dropped (strength); `repeat(factor, axis=2)`
dropped (enlarge); `each` ignored in `paint` (scales).
"""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from convscope.draw import colours, raster
from convscope.errors import ShapeError, UsageError

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (6, 5, 3)).astype(np.uint8)


def test_png_keeps_every_pixel_and_is_always_the_same() -> None:
    data = raster.png(IMAGE)
    assert (np.asarray(Image.open(io.BytesIO(data))) == IMAGE).all()
    assert data == raster.png(IMAGE.copy())


@pytest.mark.parametrize("bad", [IMAGE.astype(float), IMAGE[..., :2], IMAGE[0], IMAGE[:0]])
def test_png_refuses_what_is_no_picture(bad: np.ndarray) -> None:
    with pytest.raises(ShapeError, match=r"must be \(H, W, 3\) uint8 and not empty; got .*; colour numbers"):
        raster.png(bad)


@pytest.mark.parametrize("u", [1, 2, 7, 12])
@pytest.mark.parametrize("columns", [None, 1, 4, 99])
def test_each_tile_lies_where_the_docstring_says(u: int, columns: int | None) -> None:
    tiles = RNG.integers(0, 255, (u, 3, 4, 3)).astype(np.uint8)
    out = raster.sheet(tiles, columns, gap=2, ground=255)
    across = min(u, columns or raster.columns_for(u, 3, 4))
    assert out.shape == (-(-u // across) * 5 - 2, across * 6 - 2, 3)
    rest = out.astype(int)
    for i, tile in enumerate(tiles):
        y, x = i // across * 5, i % across * 6
        assert (out[y:y + 3, x:x + 4] == tile).all()
        rest[y:y + 3, x:x + 4] = 255
    assert (rest == 255).all()  # nothing but ground between


def test_sheet_refuses_numbers_and_emptiness() -> None:
    for bad in (np.zeros((2, 3, 3)), np.zeros((2, 3, 3, 3)), np.zeros((0, 3, 3, 3), np.uint8)):
        with pytest.raises(ShapeError, match=r"tiles must be \(U, h, w, 3\) uint8 and not empty; got"):
            raster.sheet(bad)


def test_enlarging_repeats_pixels() -> None:
    big = raster.enlarge(IMAGE[None], least=12)
    assert big.shape == (1, 12, 10, 3)
    assert (big[:, ::2, ::2] == IMAGE).all()
    assert (big[:, 1::2, 1::2] == IMAGE).all()
    assert raster.enlarge(IMAGE[None], least=5).shape == (1, 6, 5, 3)


def test_where_the_map_is_zero_the_grey_image_shows() -> None:
    over = raster.heat_over(IMAGE, np.zeros((6, 5)), 1.0)
    assert (over == np.rint(70 + raster.grey(IMAGE) * (185 / 255))).all()
    assert raster.grey(np.array([[[255, 0, 0], [0, 255, 0]]], np.uint8)).tolist() == [[[76] * 3, [150] * 3]]


def test_the_map_colours_by_sign_and_strength() -> None:
    image = np.full((1, 4, 3), 100, np.uint8)
    weak, strong, cold, none = raster.heat_over(image, np.array([[0.1, 1.0, -1.0, np.nan]]), 1.0)[0].astype(int)
    assert strong[0] - strong[2] > weak[0] - weak[2] > 0
    assert cold[2] > cold[0]
    full = raster.heat_over(image, np.array([[1.0, -1.0, 9.0, 0.25]]), 1.0, opacity=1.0)[0]
    assert (full[:3] == colours.diverging([1.0, -1.0, 1.0], 1.0)).all()
    half = (70 + 100 * 185 / 255 + colours.diverging(0.5, 1.0)) / 2  # √0.25 of a colour that is not paler than the middle
    assert (full[3] == np.rint(half)).all()
    assert none[0] == none[1] == none[2]  # hatched grey
    assert (raster.heat_over(image, np.ones((1, 4)), 1.0, opacity=0) == raster.heat_over(image, np.zeros((1, 4)), 1.0)).all()
    assert (raster.heat_over(image, np.zeros((1, 4)), 0.0)[..., 0] == 70 + round(100 * 185 / 255)).all()


def test_overlays_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"a map of \(3, 3\) does not lie on an image of \(6, 5\); resize"):
        raster.heat_over(IMAGE, np.zeros((3, 3)), 1.0)
    with pytest.raises(UsageError, match=r"opacity must be in \[0, 1\]; got 2; 0 shows the image alone"):
        raster.heat_over(IMAGE, np.zeros((6, 5)), 1.0, opacity=2)


def test_one_scale_for_all_or_each_its_own() -> None:
    tiles = np.stack([np.linspace(-1, 1, 9).reshape(3, 3), np.linspace(-10, 10, 9).reshape(3, 3)])
    shared, words = raster.paint(tiles, signed=True)
    assert words == "scale ±10, shared"
    assert (shared[0] != shared[1]).any()
    each, words = raster.paint(tiles, signed=True, each=True)
    assert (each[0] == each[1]).all()
    assert words == "each tile has its own scale, ±max |v|"
    assert raster.paint(tiles, signed=False)[1] == "scale -10 … 10, shared"
    assert (raster.paint(tiles, signed=False)[0] == colours.sequential(tiles, -10, 10)).all()
