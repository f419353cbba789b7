"""Invariance where it is exact, against a slow twin, and how much of a change is the border's.

Turns red: in `responses/_alike.py`, `moved.roll(-steps, dim)` -> `moved.roll(steps, dim)`.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from convscope import run
from convscope.errors import DataError, UnknownName, UsageError
from convscope.images import Preprocess
from convscope.network import Network
from convscope.responses._alike import alike, inner, means
from convscope.responses._study import Study
from convscope.responses.invariance import Invariance
from tests.contracts.leaves import check_stored_and_drawn, same
from tests.contracts.studies import collection, studied, study

PREPROCESS = Preprocess(mean=(0.5,), std=(0.25,))


def circular() -> nn.Sequential:
    """Two convolutions that go round, with stride 2 in all, and the mean over the map."""
    return nn.Sequential(nn.Conv2d(3, 6, 3, padding=1, padding_mode="circular"), nn.ReLU(),
                         nn.Conv2d(6, 8, 3, padding=1, stride=2, padding_mode="circular"), nn.ReLU(),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))


def studied_here(model: nn.Module, folder: Path, batch: int = 2) -> Study:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for p in model.parameters():
            nn.init.normal_(p, 0, 0.5)
    net = Network.open(model.eval(), torch.zeros(batch, 3, 16, 16))
    return study(net, collection(6, 16, 16, 3), PREPROCESS, (), folder)


def rows(table: Any, name: str) -> dict[float, int]:
    """Row numbers of one transformation by its amount."""
    columns = table.columns
    return {float(columns["amount"][i]): i for i in np.flatnonzero(columns["transformation"] == name).tolist()}


def test_a_circular_network_is_exactly_invariant_to_shifts_by_its_stride(tmp_path: Path) -> None:
    made = studied_here(circular(), tmp_path)
    for direction in ("right", "down"):
        for measure in ("cosine", "correlation"):
            asked = Invariance(border="circular", shift=8, steps=8, direction=direction, similarity=measure)
            found = asked(made, "6")
            shifts = rows(found, "shift")
            assert sorted(shifts) == list(range(1, 9))
            for pixels, r in shifts.items():
                if pixels % 2 == 0:
                    np.testing.assert_allclose(found.columns["channels_quartiles"][r], 1, atol=1e-12)
                else:
                    assert found.columns["channels"][r] < 1 - 1e-6
            maps = asked(made, "3")
            for pixels, r in rows(maps, "shift").items():
                if pixels % 2 == 0:
                    assert maps.columns["back"][r] == pytest.approx(1, abs=1e-12)
                    assert maps.columns["channels"][r] == pytest.approx(1, abs=1e-12)
                else:
                    assert np.isnan(maps.columns["back"][r])
                assert maps.columns["maps"][r] < 0.999


def test_a_full_turn_is_the_same_image(tmp_path: Path) -> None:
    made = studied_here(circular(), tmp_path)
    found = Invariance(angle=360.0, steps=4, shift=16, border="circular")(made, "3")
    for r in (rows(found, "rotate")[360.0], rows(found, "shift")[16.0]):
        for name in ("channels", "maps"):
            assert found.columns[name][r] == pytest.approx(1, abs=1e-12), name
    assert found.columns["back"][rows(found, "shift")[16.0]] == pytest.approx(1, abs=1e-12)
    assert found.columns["entered"][rows(found, "shift")[16.0]] == 1  # counted as what lies beyond, though it is the same


def test_inside_convolutions_are_equivariant_and_the_rest_is_the_border() -> None:
    _, made, _ = studied("plain")
    for layer, steps in (("conv1", (1, 2, 3, 4)), ("relu2", (2, 4))):
        found = Invariance(steps=4)(made, layer)
        for pixels, r in rows(found, "shift").items():
            if pixels in steps:
                assert found.columns["inner"][r] == pytest.approx(1, abs=1e-9)
                assert found.columns["back"][r] < 1 - 1e-6  # zero padding, and mirrored pixels
                assert found.columns["maps"][r] < found.columns["back"][r]
            else:
                assert np.isnan(found.columns["inner"][r])


def test_same_as_loops() -> None:
    """Every similarity of one shift, from the definitions, image by image and number by number."""
    _, made, _ = studied("plain")
    net = made.net
    found = Invariance(steps=1, most=4, seed=5, direction="down", border="zero")(made, "relu1")
    r = rows(found, "shift")[4.0]
    usable = [i for i in range(16) if i != 5]
    chosen = sorted(np.random.default_rng(5).choice(usable, 4, replace=False).tolist())

    def response(x: np.ndarray) -> np.ndarray:
        return run.upto(net, torch.from_numpy(x)[None], "relu1")[0].numpy().astype(float)

    def cosine(a: np.ndarray, b: np.ndarray) -> float:
        dot = aa = bb = 0.0
        for p, q in zip(a.reshape(-1).tolist(), b.reshape(-1).tolist(), strict=True):
            dot, aa, bb = dot + p * q, aa + p * p, bb + q * q
        return dot / math.sqrt(aa * bb)

    got: dict[str, list[float]] = {"channels": [], "maps": [], "back": [], "inner": [], "fill": []}
    clean_maps = []
    for i in chosen:
        x = made.preprocess(made.collection[i])
        moved, mirrored = np.zeros_like(x), np.zeros_like(x)
        for y in range(16):
            mirrored[:, y] = x[:, abs(y - 4)]
            if y >= 4:
                moved[:, y] = x[:, y - 4]
        a, b, m = response(x), response(moved), response(mirrored)
        clean_maps.append(a)
        got["channels"].append(cosine(a.mean((1, 2)), b.mean((1, 2))))
        got["maps"].append(cosine(a, b))
        got["back"].append(cosine(a[:, :12], b[:, 4:]))
        got["inner"].append(cosine(a[:, 1:11, 1:15], b[:, 5:15, 1:15]))
        got["fill"].append(cosine(b.mean((1, 2)), m.mean((1, 2))))
    for name, values in got.items():
        assert found.columns[name][r] == pytest.approx(np.mean(values), abs=1e-6), name
    np.testing.assert_allclose(found.columns["maps_quartiles"][r], np.percentile(got["maps"], (25, 50, 75)), atol=1e-6)
    assert found.columns["entered"][r] == 0.25
    others = [cosine(clean_maps[k], clean_maps[k - 1]) for k in range(4)]
    assert found.columns["maps"][0] == pytest.approx(np.mean(others), abs=1e-6)
    assert found.columns["transformation"][0] == "another image"
    assert found.notes[:2] == ("sampled: 4 of 15 images, seed 5",
                               "cosine; beyond the border: zero; 'fill' compares with reflect")


def test_blocks_do_not_change_the_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    _, made, _ = studied("plain")
    whole = Invariance(steps=2)(made, "conv2")
    assert whole.notes[0] == "all 15 images"
    for size in (7, 14):
        monkeypatch.setattr("convscope.responses.invariance.BLOCK", size)
        found = Invariance(steps=2)(made, "conv2")
        for name in ("channels", "maps", "back", "inner", "fill"):
            np.testing.assert_allclose(found.columns[name], whole.columns[name], atol=1e-6)


def test_similarities() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 5, 12))
    left, right = (torch.from_numpy(v).reshape(5, 3, 2, 2) for v in (a, b))
    wanted = [np.corrcoef(p, q)[0, 1] for p, q in zip(a, b, strict=True)]
    np.testing.assert_allclose(alike(left, right, "correlation"), wanted)
    np.testing.assert_allclose(alike(left, 3 * left, "cosine"), 1, atol=1e-15)
    np.testing.assert_allclose(alike(left, 5 - 3 * left, "correlation"), -1, atol=1e-12)
    zero, flat = torch.zeros(5, 3, 2, 2), torch.full((5, 3, 2, 2), 0.1)
    assert np.isnan(alike(left, zero, "cosine")).all()
    assert np.isnan(alike(flat, left, "correlation")).all()
    assert np.isfinite(alike(flat, left, "cosine")).all()
    assert torch.equal(means(left), left.mean((2, 3)))


def test_where_nothing_of_the_border_is_seen() -> None:
    _, made, _ = studied("plain")
    assert inner(made.net["conv1"], (16, 16), 1, 3) == (slice(1, 15), slice(1, 12))
    assert inner(made.net["fc1"], (16, 16), 1, 1) is None
    assert inner(made.net["conv1"], (16, 16), 0, 14) is None
    _, made, _ = studied("residual")
    pooled = [la for la in made.net.layers if len(la.output_shape) == 4 and la.output_shape[2:] == (1, 1)]
    assert pooled, "a layer that sees the whole image"
    assert inner(pooled[0], (16, 16), 1, 1) is None


def test_vectors_dead_layers_and_networks_of_one_image(tmp_path: Path) -> None:
    _, made, _ = studied("plain")
    found = Invariance(steps=1)(made, "fc2")
    assert "the layer is a vector: it has no maps to compare" in found.notes
    assert all(np.isnan(found.columns[name]).all() for name in ("maps", "back", "inner"))
    assert np.isfinite(found.columns["channels"]).all()
    model = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(392, 2))
    dead = studied_here(model, tmp_path)
    with torch.no_grad():
        model[0].bias.fill_(-1e6)  # type: ignore[union-attr]
    dead = study(Network.open(model, torch.zeros(1, 3, 16, 16)), collection(6, 16, 16, 3), PREPROCESS, (), tmp_path / "dead")
    found = Invariance(steps=1)(dead, "1")
    assert np.isnan(found.columns["channels"]).all()
    moves = len(found)
    assert f"left out: {5 * moves} comparisons in which all responses were zero" in found.notes


def test_errors_and_drawing(tmp_path: Path) -> None:
    _, made, _ = studied("plain")
    with pytest.raises(UnknownName, match="no layer named 'conv9'"):
        Invariance()(made, "conv9")
    with pytest.raises(UsageError, match=r"Invariance\.border must be one of reflect, circular, zero; got 'mean'"):
        Invariance(border="mean")
    with pytest.raises(UsageError, match=r"flatten has no channels to compare on images; its output is \(1, 128\)"):
        Invariance()(_without_units(made), "flatten")
    with pytest.raises(DataError, match="too few images of set; 1 were measured; sweep at least two images"):
        Invariance()(_one_image(made, tmp_path), "conv1")
    first = Invariance(steps=2, most=3)(made, "conv1")
    assert same(first, Invariance(steps=2, most=3)(made, "conv1"))
    check_stored_and_drawn(first, tmp_path)


def _without_units(made: Study) -> Study:
    """The same study where the flattening has no axis of units."""
    layers = tuple(dataclasses.replace(la, unit_axis=None) if la.address == "flatten" else la for la in made.net.layers)
    return dataclasses.replace(made, net=dataclasses.replace(made.net, layers=layers))


def _one_image(made: Study, folder: Path) -> Study:
    return study(made.net, collection(1, 16, 16, 3), made.preprocess, (), folder)
