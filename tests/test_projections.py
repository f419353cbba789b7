"""Strongest images beside their projections (Zeiler and Fergus 2014, figure 2).

Turns red: in `projections.projected`, multiply `y` by the height of the map instead of its width (test_a_projection_lies);
in `_shown`, leave out the BGR branch (test_colours); in `responses/_study.cut`, `first - start` -> 0
(test_a_projection_lies).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

import convscope as cs
from convscope import registry, run
from convscope.data import Collection, open_collection
from convscope.errors import ShapeError, UnknownName, UsageError
from convscope.images import Preprocess
from convscope.network import Network
from convscope.projections import projected
from convscope.responses._study import Study
from convscope.results import Picture
from convscope.sweep import Sweep
from tests.contracts.studies import BROKEN, studied
from tests.nets import NETS
from tests.traces import unchanged


def planted(size: tuple[int, int], spots: list[tuple[int, int]], channels: int = 1) -> Collection:
    """Black images, each with one white pixel, in the last channel dimmer than in the first."""
    pixels = np.zeros((len(spots), *size, channels), np.uint8)
    for i, (y, x) in enumerate(spots):
        pixels[i, y, x] = 255 - 20 * i
    return open_collection([(one, 0) for one in pixels])


def asked(module: nn.Module, shape: tuple[int, ...], images: Collection, folder: Path, preprocess: Preprocess) -> Study:
    net = Network.open(module.eval(), shape)
    return Study(Sweep(top=4, batch=4)(net, images, preprocess, folder), net, images, preprocess)


def weighted(conv: nn.Conv2d, weight: Any) -> nn.Conv2d:
    with torch.no_grad():
        conv.weight.copy_(torch.as_tensor(weight, dtype=torch.float32).reshape(conv.weight.shape))
        if conv.bias is not None:
            conv.bias.zero_()
    return conv


def test_a_projection_lies_where_its_image_lies(tmp_path: Path) -> None:
    """A filter whose middle weight is by far the largest answers where the white pixel is, and its projection is the filter
    itself: in the crop, pixel and middle of the projection meet, inside, at the borders, and in a map that is not square."""
    kernel = np.array([[1, 2, 3], [4, 20, 5], [6, 7, 8.0]])
    net = nn.Sequential(weighted(nn.Conv2d(1, 1, 3, padding=1), kernel), nn.ReLU())
    spots = [(4, 6), (0, 0), (7, 10), (3, 10)]
    study = asked(net, (1, 8, 11), planted((8, 11), spots), tmp_path, Preprocess(channels="L"))
    found = projected(study, "1", 0, 4)
    assert found.tiles.shape == (8, 3, 3, 3)
    assert found.columns % 2 == 0  # pairs stay side by side
    assert next(iter(found.values)) == "value"  # what a drawing writes below each
    assert found.origin.method == "TopImages(unit=0, k=4, crop=True), Deconvnet(overlap='add')"
    assert sum("no max pooling lies below" in note for note in found.notes) == 1
    limit = 20 * 20.0
    assert found.values["limit"] == pytest.approx(np.full(8, limit))
    for i, (y, x) in enumerate(spots):
        image, projection = found.tiles[2 * i, ..., 0], found.tiles[2 * i + 1, ..., 0].astype(int)
        assert found.values["image"][2 * i] == i
        rows, columns = np.mgrid[y - 1 : y + 2, x - 1 : x + 2]
        inside = (rows >= 0) & (rows < 8) & (columns >= 0) & (columns < 11)
        assert image[1, 1] == 255 - 20 * i
        assert set(image[inside & (np.mgrid[:3, :3] != 1).any(0)]) == {0}
        assert (image[~inside] == 128).all()
        value = 20 * (255 - 20 * i) / 255
        expected = np.where(inside, 127.5 + 127.5 * kernel * value / limit, 128)
        assert np.abs(projection - expected).max() <= 0.51


def test_a_field_as_wide_as_the_image_keeps_its_place(tmp_path: Path) -> None:
    """The axis is shown whole, whatever part of it the position sees: image and projection are not moved apart."""
    kernel = np.zeros((9, 3))
    kernel[4, 1] = 1
    net = nn.Sequential(weighted(nn.Conv2d(1, 1, (9, 3), padding=(4, 1)), kernel), nn.ReLU())
    study = asked(net, (1, 8, 8), planted((8, 8), [(7, 3), (0, 5)]), tmp_path, Preprocess(channels="L"))
    found = projected(study, "0", 0, 2)
    assert found.tiles.shape == (4, 8, 3, 3)
    for pair, (row, level) in enumerate([(7, 255), (0, 255 * 235 / 255)]):
        for tile, top in ((found.tiles[2 * pair], level), (found.tiles[2 * pair + 1], 127.5 + 127.5 * level / 255)):
            assert np.unravel_index(tile[..., 0].argmax(), (8, 3)) == (row, 1)
            assert abs(int(tile[row, 1, 0]) - top) <= 0.51


@pytest.mark.parametrize(
    ("name", "layer"),
    [("plain", "conv2"), ("residual", "block2.conv2"), ("non_square", "relu2"), ("grouped", "pointwise"), ("plain", "fc1"),
     ("ceil_pool", "conv2")],
)  # fmt: skip
def test_it_is_the_deconvnet_of_each_image(name: str, layer: str) -> None:
    model, study, _ = studied(name)
    unit = 1
    with unchanged(model):
        found = projected(study, layer, unit, 3)
    top = registry.load("responses", "top-images")(unit=unit, k=3)(study, layer)
    np.testing.assert_array_equal(found.tiles[::2], top.tiles)
    assert BROKEN not in found.values["image"]
    heats = []
    for i in range(3):
        x = study.net.check_input(torch.from_numpy(study.preprocess(study.collection[int(top.values["image"][i])]))[None])
        place = f"@{top.values['y'][i]},{top.values['x'][i]}" if len(study.net[layer].output_shape) == 4 else ""
        heat = registry.load("attributions", "deconvnet")()(
            study.net, x, run.target(study.net, f"{layer}/{unit}{place}", x)).values[0]  # fmt: skip
        heats.append(heat[:3])
        # What lies outside the box that was cut is zero: nothing of the projection is lost.
        y0, x0, y1, x1 = (int(top.values[k][i]) for k in ("y0", "x0", "y1", "x1"))
        outside = heat.copy()
        outside[:, y0:y1, x0:x1] = 0
        assert not outside.any()
    below = name in ("plain", "non_square", "ceil_pool")  # these have a max pooling below the layer
    assert any("no max pooling lies below" in note for note in found.notes) == (not below)
    sizes = np.sort([v for heat in heats for v in np.abs(heat).ravel() if v > 0])
    limit = float(sizes[int(np.ceil(0.99 * (len(sizes) - 1)))])
    assert found.values["limit"][0] == pytest.approx(limit)
    for i, heat in enumerate(heats):
        y0, x0, y1, x1 = (int(top.values[k][i]) for k in ("y0", "x0", "y1", "x1"))
        part = np.rint(127.5 + 127.5 * np.clip(heat[:, y0:y1, x0:x1] / limit, -1, 1)).transpose(1, 2, 0)
        tile = found.tiles[2 * i + 1].astype(float)
        assert np.abs(tile - 127.75).sum() - np.abs(part - 127.75).sum() == pytest.approx(0.25 * (tile.size - part.size))


def test_colours_are_the_image_s(tmp_path: Path) -> None:
    """A network that reads blue, green, red: what excites it by red is drawn in red, beside a red pixel."""
    net = nn.Sequential(weighted(nn.Conv2d(3, 1, 1), [0.1, 0.2, 1.0]), nn.ReLU())
    images = open_collection([(np.full((4, 4, 3), (250, 20, 10), np.uint8), 0)])
    study = asked(net, (3, 4, 4), images, tmp_path, Preprocess(channels="BGR"))
    image, projection = projected(study, "1", 0, 1).tiles
    np.testing.assert_array_equal(image.reshape(3), (250, 20, 10))
    np.testing.assert_array_equal(projection.reshape(3), np.rint(127.5 + 127.5 * np.array([1.0, 0.2, 0.1])))


def test_grey_and_four_channels_say_what_is_drawn(tmp_path: Path) -> None:
    grey = projected(studied("functional_relu")[1], "conv1", 0, 2)
    assert not any("channels are drawn" in note for note in grey.notes)
    four = projected(studied("grouped")[1], "conv1", 0, 2)
    assert any("; 3 of 4 channels are drawn" in note for note in four.notes)
    two = nn.Sequential(weighted(nn.Conv2d(2, 1, 1), [1.0, 5.0]), nn.ReLU())
    study = asked(two, (2, 7, 8), planted((7, 8), [(1, 1)], 2), tmp_path, Preprocess(channels=2))
    found = projected(study, "1", 0, 1)
    assert found.values["limit"][0] == pytest.approx(6.0)  # of the channel that is drawn
    assert any("; 1 of 2 channels are drawn" in note for note in found.notes)


def test_a_unit_that_nothing_excites_says_so(tmp_path: Path) -> None:
    net = nn.Sequential(weighted(nn.Conv2d(1, 1, 1), [-1.0]), nn.ReLU(), nn.Conv2d(1, 1, 1))
    study = asked(net, (1, 4, 4), planted((4, 4), [(1, 1), (2, 2)]), tmp_path, Preprocess(channels="L"))
    found = projected(study, "1", 0, 2)
    assert (found.tiles[1::2] == 128).all()
    assert [note for note in found.notes if "not positive" in note] == [
        f"the activation of image {i} is not positive: a deconvnet shows what excites a unit, and here nothing does"
        for i in (0, 1)
    ]  # fmt: skip


def test_what_it_cannot_do(tmp_path: Path) -> None:
    _, study, _ = studied("plain")
    with pytest.raises(UnknownName, match=r"no unit 99 in conv1; it has 6; use 0 … 5"):
        projected(study, "conv1", 99)
    with pytest.raises(UsageError, match=r"30 strongest images are asked for; the sweep kept 4"):
        projected(study, "conv1", 0, 30)
    with pytest.raises((UsageError, ShapeError), match="ReLU"):
        projected(studied("grey")[1], "conv1", 0, 2)


def test_python_and_the_command_line_say_the_same(tmp_path: Path) -> None:
    from convscope.cli import main

    net = cs.open(NETS["plain"]()[0], NETS["plain"]()[1], preprocess="unit")
    images = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), np.uint8)
    few = open_collection([(one, i % 2) for i, one in enumerate(images)])
    cs.respond(net, few, tmp_path / "record", top=4)
    found = cs.study(net, few, tmp_path / "record", "conv2", "top-images", project=True, unit=3, k=2)
    assert isinstance(found, Picture)
    assert [name.endswith(" projected") for name in found.units] == [False, True, False, True]
    with pytest.raises(UsageError, match=r"units has no projections; they belong to top-images, with unit, k, overlap"):
        cs.study(net, few, tmp_path / "record", "conv2", project=True)
    with pytest.raises(UsageError, match=r"projections have no crop; they belong to top-images"):
        cs.study(net, few, tmp_path / "record", "conv2", "top-images", project=True, crop=False)
    arguments = ["respond", "zoo:lenet5", "--images", "digits", "--out", str(tmp_path / "lenet"), "--layers", "conv1,conv2"]
    said = CliRunner().invoke(main, [*arguments, "--layer", "conv2", "--method", "top-images", "--unit", "3", "--k", "2",
                                     "--project", "--json"])  # fmt: skip
    assert said.exit_code == 0, said.output
    told = json.loads(said.stdout)
    assert [name.endswith(" projected") for name in told["units"]] == [False, True, False, True]
