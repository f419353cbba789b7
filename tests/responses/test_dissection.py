"""Dissection: hand-set filters get their names; AUC, IoU and thresholds against slow twins; masks of the user's own.

Turns red: in `responses/_dissected.py`, `values[:, there].amax(1)` -> `values.amax(1)` · in `responses/_naming.py`,
`n * (n + 1) / 2` -> `n * n / 2` · in `responses/dissection.py`, `tested[best, units]` -> `chosen[best, units]`.
"""

from __future__ import annotations

import dataclasses
import functools
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from convscope import run
from convscope.concepts import ConceptSet, Example, generated
from convscope.concepts.sets import Concept
from convscope.errors import UnknownName, UsageError
from convscope.images import Preprocess
from convscope.network import Network
from convscope.responses._dissected import measure
from convscope.responses._naming import Sight, auc, by_chance
from convscope.responses._study import Study, box
from convscope.responses.dissection import Dissection, sentence
from convscope.results import Table
from tests.contracts.leaves import opened
from tests.contracts.studies import collection, studied, study
from tests.responses.wired import UNITS, wired
from tests.traces import unchanged

DATA = Path(__file__).parents[3] / "shared/data"


@functools.cache
def known() -> tuple[Study, Table]:
    """The network with hand-set filters, and its names."""
    net = Network.open(wired(), torch.zeros(1, 3, 32, 32))
    folder = Path(tempfile.mkdtemp())
    made = study(net, collection(8, 32, 32, 3), Preprocess(mean=(0.45,), std=(0.25,)), (), folder)
    return made, Dissection(examples=20)(made, "relu")


@pytest.mark.parametrize("unit", range(len(UNITS)))
def test_hand_set_filters_get_their_names(unit: int) -> None:
    _, table = known()
    wanted = list(UNITS)[unit]
    assert str(table.columns["name"][unit]).startswith(wanted)
    assert table.columns["AUC"][unit] > 0.95


def test_a_dead_unit_is_named_dead() -> None:
    _, table = known()
    assert table.columns["name"][-1] == "dead"
    assert table.columns["category"][-1] == table.columns["second"][-1] == "—"
    assert np.isnan(table.columns["IoU"][-1])
    assert sentence(table, len(table) - 1) == "is dead: says the same to every concept image"


def test_the_sentence_of_a_unit_page() -> None:
    _, table = known()
    assert sentence(table, 3).startswith("responds to vertical stripes of period ~4 px (AUC ")
    assert sentence(table, 3).endswith(f", n = {table.columns['n'][3]})")
    unnamed = dataclasses.replace(table, columns={**table.columns, "name": np.full(len(table), "—")})
    assert sentence(unnamed, 3).startswith("has no name; closest are vertical stripes of period ~4 px (AUC ")
    with pytest.raises(UnknownName, match="no unit 16 in this table; it has 16; use 0 … 15"):
        sentence(table, 16)


def test_units_that_hear_noise_get_no_name() -> None:
    """Responses that are drawn at random: about as many pass the bar as the note says."""
    rng = np.random.default_rng(0)
    shown = np.arange(400) % 40 == 0
    areas = auc(np.argsort(np.argsort(rng.random((400, 4000)), 0), 0) + 1.0, shown)
    assert areas.mean() == pytest.approx(0.5, abs=0.01)
    assert (areas >= 0.7).mean() == pytest.approx(by_chance(0.7, 10, 390), rel=0.5)
    assert by_chance(0.8, 12, 1000) < 3e-4


def slow_auc(response: np.ndarray, shown: np.ndarray) -> float:
    """The definition: all pairs."""
    wins = [(a > b) + 0.5 * (a == b) for a in response[shown] for b in response[~shown]]
    return float(np.mean(wins))


@pytest.mark.parametrize(("name", "layer"), [("plain", "pool1"), ("non_square", "relu2"), ("dilated", "conv2")])
def test_auc_and_iou_are_what_their_definitions_say(name: str, layer: str) -> None:
    """Slow twins: every image by itself, every position's box, every pair, every point of the image."""
    _, made, _ = studied(name)
    net = made.net
    size = net.input_shape[2:]
    table = Dissection(examples=4, bar=0.5)(made, layer)
    found = net[layer]
    concepts = generated((size[0], size[1]), 3, _reached(made, layer), 4, 0)
    names = [c.name for c in concepts.concepts]
    responses, shown, maps = [], [], []
    for i in range(len(concepts)):
        [(c, mask)] = concepts[i].masks.items()
        value = run.upto(net, torch.from_numpy(made.preprocess(concepts[i].pixels))[None], layer)[0]
        share = np.zeros(value.shape[1:])
        for p in range(share.size):
            (y0, x0, y1, x1), _ = box(found, p, size[0], size[1])
            share.flat[p] = mask[y0:y1, x0:x1].sum() / max(1, min((y1 - y0) * (x1 - x0), mask.sum()))
        responses.append(value.numpy()[:, (share >= 0.75 * share.max()) & (share > 0)].max(1))
        shown.append(c)
        maps.append(value.numpy())
    test, concept = concepts.half == 1, np.array(shown)
    threshold = np.quantile(np.stack(maps)[~test].transpose(1, 0, 2, 3).reshape(len(value), -1), 0.995, axis=1,
                            method="inverted_cdf")
    np.testing.assert_allclose(table.columns["threshold"], threshold, rtol=1e-6)
    for unit in (0, len(table) - 1):
        c = names.index(str(table.columns["candidate"][unit]))
        area = slow_auc(np.stack(responses)[test, unit], concept[test] == c)
        assert table.columns["AUC"][unit] == pytest.approx(area)
        assert table.columns["n"][unit] == test.sum()
        iou = slow_iou(net, layer, [(maps[i][unit], concepts[i], c) for i in np.flatnonzero(test)], threshold[unit])
        assert table.columns["IoU"][unit] == pytest.approx(iou, abs=1e-9)


def _reached(made: Study, layer: str) -> int:
    from convscope.responses.dissection import reach

    return reach(made.net[layer], min(made.net.input_shape[2:]))


def slow_iou(net: Network, layer: str, cases: list[tuple[np.ndarray, Example, int]], threshold: float) -> float:
    """Enlarged point by point between the centres of receptive fields; small images are their own grid."""
    both = either = 0
    fields = net[layer].fields
    assert fields is not None
    for value, example, c in cases:
        height, width = example.pixels.shape[:2]
        mask = example.masks.get(c, np.zeros((height, width), bool))
        for y in range(height):
            for x in range(width):
                at = []
                for field, p, n in zip(fields, (y, x), value.shape, strict=True):
                    assert field.centre is not None
                    at.append(min(max((p - float(field.centre)) / float(field.stride), 0), n - 1))
                (i, fi), (j, fj) = ((int(a), a - int(a)) for a in at)
                low, high = value[i], value[min(i + 1, value.shape[0] - 1)]
                ends = [row[j] * (1 - fj) + row[min(j + 1, value.shape[1] - 1)] * fj for row in (low, high)]
                on = ends[0] * (1 - fi) + ends[1] * fi > threshold
                both += bool(on and mask[y, x])
                either += bool(on or mask[y, x])
    return both / max(either, 1)


def test_many_layers_at_once_give_what_each_gives_alone() -> None:
    made, table = known()
    method = Dissection(examples=4)
    together = method.tables(made, ["conv", "relu", "pool", "head"])
    for layer, found in together.items():
        alone = method(made, layer)
        for name, cells in alone.columns.items():
            np.testing.assert_array_equal(cells, found.columns[name])
    assert np.isnan(together["head"].columns["IoU"]).all()  # a vector has no map to overlap with
    assert table.notes[1].startswith("15 of 16 units are named; a unit that tells nothing apart passes the bar with prob")


def test_no_name_passes_below_the_bar() -> None:
    made, table = known()
    strict = Dissection(examples=4, bar=1.0)(made, "relu")
    assert all((area == 1) == (name not in ("—", "dead")) for area, name in zip(
        strict.columns["AUC"], strict.columns["name"], strict=True) if name != "dead")
    assert (table.columns["AUC"][table.columns["category"] != "—"] >= 0.8).all()


def test_batches_give_what_singles_give() -> None:
    _, made, embed = studied("residual")
    one, many = (Dissection(examples=2, together=b)(made, embed[0]) for b in (1, 16))
    assert one.columns["candidate"].tolist() == many.columns["candidate"].tolist()
    np.testing.assert_allclose(one.columns["AUC"], many.columns["AUC"], atol=0.01)


def test_masks_of_the_users_own(tmp_path: Path) -> None:
    """Red and blue squares side by side on each image: each colour's unit is named after its own, not its neighbour's."""
    made, _ = known()
    rng = np.random.default_rng(0)
    for i in range(16):
        pixels = rng.integers(100, 140, (32, 32, 1), np.uint8).repeat(3, 2)
        for name, colour, left in (("ruby", (220, 10, 10), 2), ("sea", (10, 10, 220), 18)):
            if i % 4 != (0 if name == "ruby" else 1):
                mask = np.zeros((32, 32), np.uint8)
                mask[8:20, left : left + 12] = 255
                pixels[mask > 0] = colour + rng.integers(-10, 11, ((mask > 0).sum(), 3))  # a flat patch would tie
                (tmp_path / "masks" / name).mkdir(parents=True, exist_ok=True)
                Image.fromarray(mask).save(tmp_path / f"masks/{name}/{i:02d}.png")
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / f"images/{i:02d}.png")
    table = Dissection(masks=str(tmp_path))(made, "relu")
    names = dict(zip(UNITS, table.columns["name"].tolist(), strict=False))
    assert (names["red"], names["blue"]) == ("ruby", "sea")
    assert 0.01 < table.columns["IoU"][0] < 0.06  # a sixth of the images' pixels are ruby, the threshold leaves 0.5 %
    assert table.columns["n"][0] in (7, 8, 9)
    assert table.notes[0].startswith(f"{tmp_path}: 2 concepts, 16 images, seed 0; {16 - table.columns['n'][0]} chose the ")


def test_an_image_without_any_mask_stands_for_everything_else() -> None:
    made, _ = known()
    pixels = np.full((32, 32, 3), 120, np.uint8)
    mask = np.zeros((32, 32), bool)
    mask[10:20, 10:20] = True
    bright = np.where(mask[..., None], np.uint8(250), pixels)
    concepts = ConceptSet("s", (Concept("light", "yours"),), np.array([0, 1, 0, 1]),
                          lambda i: Example(bright, {0: mask}) if i < 2 else Example(pixels, {}))
    found = measure(made, ["relu"], concepts, 4, False)["relu"]
    assert found.concept.tolist() == [0, -1, 0, -1]
    assert found.aucs(1, 1)[0, list(UNITS).index("light spots")] == 1


def test_positions_that_see_the_mask() -> None:
    _, _, net = opened("plain")
    mask = np.zeros((16, 16), bool)
    mask[4:8, 4:8] = True
    sight = Sight.of(net["conv1"], (16, 16))
    assert sight is not None
    there = sight.at_mask(mask)
    assert there[5, 5]
    assert not there[10, 10]
    assert not there[2, 2]  # sees a corner of it only
    assert not sight.at_mask(np.zeros((16, 16), bool)).any()
    assert Sight.of(net["fc1"], (16, 16)) is None


def test_what_has_no_names_says_so() -> None:
    model, made, _ = studied("plain")
    with unchanged(model), pytest.raises(UsageError, match=r"flatten has no units; its output is .*; choose a layer with"):
        Dissection()(_without_units(made), "flatten")
    with pytest.raises(UsageError, match=r"Dissection\.examples must be in \[2, ∞\]"):
        Dissection(examples=1)


def _without_units(made: Study) -> Study:
    layers = tuple(dataclasses.replace(k, unit_axis=None) if k.address == "flatten" else k for k in made.net.layers)
    twin = dataclasses.replace(made.net, layers=layers)
    return Study(made.record, twin, made.collection, made.preprocess)
