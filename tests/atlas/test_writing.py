"""An atlas on disk: what it says is what Python says, what it names is there, and it can be gone on with and asked more.

Turns red: in `pages.layer_page`, swap the rows and columns of `top`; in `writing._image_page`, never return early.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import convscope as cs
from convscope import actions, data, store
from convscope.errors import StoreError, UsageError
from convscope.results import Heatmap, Table

SHORT: dict[str, Any] = {"features": "none", "studies": False}  # the long work has tests of its own


def module(seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(96, 10)
        )


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("atlas") / "atlas"
    cs.atlas(cs.open(module(), (1, 8, 8), preprocess="unit"), "digits", out, pages=2, points=100, batch=64, **SHORT)
    return out


def read(folder: Path, key: str) -> Any:
    """The JSON inside `data/KEY.js`."""
    text = (folder / "data" / f"{key}.js").read_text(encoding="utf-8")
    found = re.fullmatch(r"convscope\.put\((\"[^\"]*\"),(.*)\);\n", text, re.S)
    assert found is not None
    assert json.loads(found[1]) == key
    return json.loads(found[2])


def test_every_layer_with_a_page_has_its_data(written: Path) -> None:
    layers = read(written, "network")["layers"]
    assert [k["address"] for k in layers] == ["0", "1", "2", "3", "4", "5"]
    assert {k["address"] for k in layers if k["page"]} == {"0", "1", "2", "3", "5"}  # a flatten only moves
    assert layers[0]["formula"] == "⌊(8 + 2·1 − 3)/1⌋ + 1 = 8"
    for layer in layers:
        assert (written / "data" / "layer" / f"{layer['slug']}.js").exists() == layer["page"]


def test_numbers_of_the_page_are_those_of_python(written: Path) -> None:
    page = read(written, "layer/2")
    images = data.open_collection("digits")
    x = torch.from_numpy(np.stack([images[i] for i in range(len(images))])[..., 0][:, None].astype(np.float32) / 255)
    with torch.no_grad():
        maps = module().eval()[:3](x).numpy()
    np.testing.assert_allclose(page["columns"]["mean"], maps.mean((0, 2, 3)), rtol=1e-4)
    np.testing.assert_allclose(page["columns"]["maximum"], maps.max((0, 2, 3)), rtol=1e-4)
    top = page["top"]
    for unit in range(6):
        found = [maps[top["image"][unit][r], unit, top["y"][unit][r], top["x"][unit][r]] for r in range(9)]
        np.testing.assert_allclose(found, top["value"][unit], rtol=1e-4)
        np.testing.assert_allclose(np.sort(maps[:, unit].max((1, 2)))[::-1][:9], top["value"][unit], rtol=1e-4)
    labels = images.labels
    np.testing.assert_allclose(np.array(page["class_means"])[:, 3], maps[labels == 3].mean((0, 2, 3)), rtol=1e-4)
    assert sum(page["histogram"]["counts"][0]) > 0


def test_every_file_that_is_named_is_there(written: Path) -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in written.glob("data/**/*.js"))
    named = set(re.findall(r'"((?:pictures|thumbs)/[^"]+)"', text))
    assert len(named) > 8
    assert [name for name in named if not (written / name).is_file()] == []
    scripts = re.findall(r'(?:src|href)="(app/[^"]+)"', (written / "index.html").read_text(encoding="utf-8"))
    assert scripts
    assert all((written / name).is_file() for name in scripts)


def test_map_lists_every_image_once(written: Path) -> None:
    page = read(written, "map")
    assert [v["name"] for v in page["views"]] == ["PCA", "t-SNE"]
    assert len(set(page["index"])) == len(page["index"]) == 100
    assert all(len(v["points"]) == 100 for v in page["views"])
    assert any("100 of 1,797" in note for v in page["views"] for note in v["notes"])


def test_collection_says_what_it_holds(written: Path) -> None:
    page = read(written, "collection")
    assert (page["count"], len(page["ids"]), page["pages"], page["skipped"]) == (1797, 1797, [0, 1], [])
    shares = np.array(page["predictions"]["probability"])
    assert shares.shape == (1797, 5)
    assert 0 <= page["accuracy"] <= 1


def test_results_are_kept_for_python(written: Path) -> None:
    kept = store.Store(written / "results")
    assert {"trace", "layer/2/units", "map/PCA"} <= set(kept.keys())
    table = kept.get("layer/2/units")
    assert isinstance(table, Table)
    np.testing.assert_allclose(table.columns["mean"], read(written, "layer/2")["columns"]["mean"], rtol=1e-5)


def test_same_atlas_again_keeps_its_pictures(written: Path) -> None:
    picture = written / "pictures" / "image-0.png"
    before = picture.stat().st_mtime_ns
    cs.atlas(cs.open(module(), (1, 8, 8), preprocess="unit"), "digits", written, pages=2, points=100, batch=64, **SHORT)
    assert picture.stat().st_mtime_ns == before


def test_another_network_is_refused(written: Path) -> None:
    with pytest.raises(StoreError, match="holds another sweep; it differs in network"):
        cs.atlas(cs.open(module(1), (1, 8, 8), preprocess="unit"), "digits", written, pages=2, points=100, batch=64, **SHORT)


def test_foreign_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    net = cs.open(module(), (1, 8, 8))
    with pytest.raises(StoreError, match="holds something that is no atlas"):
        cs.atlas(net, "digits", tmp_path)
    with pytest.raises(UsageError, match="is a file"):
        cs.atlas(net, "digits", tmp_path / "thesis.txt")


def test_session_answers_like_the_network_itself(written: Path) -> None:
    session = actions.open_atlas(written)
    net = cs.open(module(), (1, 8, 8), preprocess="unit")
    pixels = data.open_collection("digits")[7]
    np.testing.assert_allclose(session.predict(7).columns["output"], cs.predict(net, pixels).columns["output"], rtol=1e-5)
    heat = session.attribute(7, "occlusion", "3", {"window": 2, "stride": 2})
    assert isinstance(heat, Heatmap)
    np.testing.assert_allclose(
        heat.values, cs.attribute(net, pixels, "occlusion", 3, window=2, stride=2).values, rtol=1e-4, atol=1e-6
    )
    page = session.image_page(7)
    assert page["id"] == "digits/0007"
    assert set(page["files"]) >= {page["file"], *(m["file"] for m in page["maps"]), *(h["file"] for h in page["heatmaps"])}


def test_unfinished_atlas_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is no finished atlas"):
        actions.open_atlas(tmp_path)


def test_bad_images_are_counted_and_named(tmp_path: Path) -> None:
    from PIL import Image

    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(4):
        Image.fromarray(np.full((8, 8), 40 * i, np.uint8)).save(folder / f"{i}.png")
    (folder / "broken.png").write_bytes((folder / "1.png").read_bytes()[:40])
    cs.atlas(cs.open(module(), (1, 8, 8), preprocess="unit"), folder, tmp_path / "atlas", pages=1, **SHORT)
    page = read(tmp_path / "atlas", "collection")
    assert [s["id"] for s in page["skipped"]] == ["broken.png"]
    assert page["skipped"][0]["reason"]
    assert page["count"] == 5
    assert read(tmp_path / "atlas", "layer/2")["count"] == 4


def test_the_command_line_knows_every_setting_and_its_default() -> None:
    from dataclasses import fields

    from convscope.atlas import Settings
    from convscope.cli_collections import SETTINGS, atlas

    assert {field.name for field in fields(Settings)} == set(SETTINGS)
    options = {option.name: option for option in atlas.params}
    assert {name: options[name].default for name in SETTINGS} == {name: getattr(Settings(), name) for name in SETTINGS}
