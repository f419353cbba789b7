"""Top images: found again by running the images one by one, and cut to the pixels that made the value.

Turns red: in `responses/top_images.py`, `field.start + at * field.stride` -> `at * field.stride`.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from convscope import run
from convscope.errors import DataError, UnknownName, UsageError
from convscope.geometry import Field
from convscope.network import map_of
from convscope.responses._study import cut
from convscope.responses.top_images import TopImages
from tests.contracts.leaves import opened
from tests.contracts.studies import BROKEN, studied


@pytest.mark.parametrize("name", ["plain", "non_square", "residual", "grey"])
def test_they_are_the_strongest(name: str) -> None:
    _, study, embed = studied(name)
    layer = study.net[embed[0]]
    x = torch.stack([torch.from_numpy(study.preprocess(study.collection[i])) for i in range(16) if i != BROKEN])
    numbers = [i for i in range(16) if i != BROKEN]
    maps = run.upto(study.net, x, layer.address)
    for unit in (0, 3):
        best = maps[:, unit].flatten(1).max(1).values.tolist()
        order = sorted(range(15), key=lambda n: (-best[n], n))[:4]
        found = TopImages(unit=unit, k=4)(study, layer.address)
        np.testing.assert_allclose(found.values["value"], [best[n] for n in order], rtol=1e-5)
        assert found.values["image"].tolist() == [numbers[n] for n in order]
        assert found.units == tuple(f"set/{numbers[n]:03d}" for n in order)
        for n, y, at in zip(order, found.values["y"], found.values["x"], strict=True):
            np.testing.assert_allclose(maps[n, unit, y, at], best[n], rtol=1e-5)


@pytest.mark.parametrize("name", ["plain", "non_square", "grey"])
def test_the_crop_alone_gives_the_value_again(name: str) -> None:
    """The layer's value, computed from the tile and nothing else: for a position whose field lies inside the image."""
    model, study, embed = studied(name)
    layer = study.net[embed[0]]
    conv = model.conv1
    checked = 0
    for unit in range(layer.output_shape[1]):
        found = TopImages(unit=unit, k=4)(study, layer.address)
        whole = TopImages(unit=unit, k=4, crop=False)(study, layer.address)
        for n, tile in enumerate(found.tiles):
            y0, x0, y1, x1 = (int(found.values[k][n]) for k in ("y0", "x0", "y1", "x1"))
            if (y1 - y0, x1 - x0) != tile.shape[:2]:
                continue
            checked += 1
            np.testing.assert_array_equal(tile, whole.tiles[n][y0:y1, x0:x1])
            pixels = tile if study.preprocess.depth == 3 else tile[..., :1]
            value = torch.nn.functional.conv2d(torch.from_numpy(study.preprocess(pixels))[None], conv.weight, conv.bias)  # type: ignore
            assert value.shape[2:] == (1, 1)
            np.testing.assert_allclose(value[0, unit].detach(), found.values["value"][n], rtol=1e-4)
    assert checked


def test_beyond_the_image_is_mid_grey() -> None:
    _, _, net = opened("plain")
    layer, pixels = net["conv1"], np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3)
    assert map_of(layer) == (16, 16)
    corner = cut(layer, 0, pixels)
    assert (corner[0] == 128).all()
    assert (corner[:, 0] == 128).all()
    np.testing.assert_array_equal(corner[1:, 1:], pixels[:2, :2])
    np.testing.assert_array_equal(cut(layer, 16 * 16 - 1, pixels)[:2, :2], pixels[-2:, -2:])


def test_a_field_as_wide_as_the_image_is_not_cut() -> None:
    _, _, net = opened("plain")
    fields = (Field(size=20), Field(size=3))
    layer = dataclasses.replace(net["conv1"], fields=fields)
    pixels = np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3)
    np.testing.assert_array_equal(cut(layer, 5 * 16 + 4, pixels), pixels[:, 4:7])
    assert cut(dataclasses.replace(layer, fields=None), 0, pixels) is pixels


def test_vectors_show_whole_images() -> None:
    _, study, embed = studied("plain")
    found = TopImages(k=2)(study, embed[1])
    assert found.tiles.shape == (2, 16, 16, 3)
    assert [found.values[k].tolist() for k in ("y0", "x0", "y1", "x1")] == [[0, 0], [0, 0], [16, 16], [16, 16]]


def test_what_cannot_be_shown_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    _, study, _ = studied("plain")
    with pytest.raises(UnknownName, match="no unit 6 in conv1; it has 6; use 0 … 5"):
        TopImages(unit=6, k=1)(study, "conv1")
    with pytest.raises(UsageError, match="5 strongest images are asked for; the sweep kept 4; sweep again with --top 5"):
        TopImages(k=5)(study, "conv1")
    nobody = study.record.tally("conv1")
    nobody.image[:] = -1
    monkeypatch.setattr(type(study.record), "tally", lambda self, layer: nobody)
    with pytest.raises(DataError, match="no image of set was measured"):
        TopImages(k=1)(study, "conv1")
