"""Units that were put in another order are found again, all of them; and the best pairing is the best of all.

Turns red: in `comparisons/matched_units.py`, `maximize=True` -> `maximize=False` · `nan=-2.0` -> `nan=2.0` ·
`found.movedim(1, 2).flatten(0, 1)` -> `found.flatten(0, 1)`.
"""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch
from torch import nn

from convscope.comparisons.matched_units import MatchedUnits, assigned
from convscope.errors import DataError, ShapeError, UsageError
from convscope.images import Preprocess
from convscope.network import Network
from tests.comparisons.permuted import ORDERS, images, plain, same_body
from tests.contracts.leaves import opened


@pytest.mark.parametrize("layer", ORDERS)
def test_a_permuted_copy_is_matched_wholly(layer: str) -> None:
    found = MatchedUnits(batch=7)(plain(), layer, images())
    order = np.array(ORDERS[layer])
    silent = np.isnan(found.columns["r"])  # a unit that never fires has no partner that could be told from another
    assert silent.sum() == 0
    assert found.columns["match"].tolist() == np.argsort(order).tolist()
    np.testing.assert_allclose(found.columns["r"], 1, atol=1e-6)
    stay = int((order == np.arange(len(order))).sum())
    assert found.columns["in place"].sum() == stay
    assert f"permuted: {stay} of {len(order)} units stay in place, mean r 1.000" in found.notes


def test_the_correlation_is_numpys_over_all_images_and_positions() -> None:
    net, other = opened("plain")[2], opened("functional_relu")[2]
    shown = images()
    layer = "conv1"
    x = torch.cat([batch[0] for batch in shown.batches([net, other], np.arange(24), 24)])
    maps = [n.run(x, keep=[layer])[layer].double().numpy() for n in (net, net)]
    found = MatchedUnits(batch=5)([net, net], layer, shown)
    flat = [m.transpose(1, 0, 2, 3).reshape(6, -1) for m in maps]
    slow = np.corrcoef(*flat)[:6, 6:]
    np.testing.assert_allclose(found.columns["r own"], np.diag(slow), atol=1e-9)
    # maps of 16×16 and of 14×14: the mean of each
    found = MatchedUnits(batch=5)([net, other], layer, shown)
    means = [n.run(x, keep=[layer])[layer].double().mean((2, 3)).numpy().T for n in (net, other)]
    slow = np.corrcoef(*means)[:6, 6:]
    np.testing.assert_allclose(found.columns["r own"], np.diag(slow), atol=1e-6)
    assert found.columns["match"].tolist() == assigned(slow).tolist()
    assert "over 23 images, the mean of each map (the maps differ in size)" in found.notes
    assert "left out: 1 images that could not be read" in found.notes


@pytest.mark.parametrize("seed", range(5))
def test_no_other_pairing_is_better(seed: int) -> None:
    r = np.random.default_rng(seed).uniform(-1, 1, (5, 5))
    best = max(permutations(range(5)), key=lambda p: sum(r[i, j] for i, j in enumerate(p)))
    assert assigned(r).tolist() == list(best)


def test_of_equals_the_own_place_and_what_has_none() -> None:
    assert assigned(np.ones((3, 3))).tolist() == [0, 1, 2]
    assert assigned(np.full((2, 2), np.nan)).tolist() == [0, 1]
    assert assigned(np.array([[np.nan, np.nan], [0.2, 0.1]])).tolist() == [1, 0]
    assert assigned(np.array([[0.1], [0.9], [0.3]])).tolist() == [-1, 0, -1]
    assert assigned(np.array([[0.1, 0.2, 0.9]])).tolist() == [2]


def test_silent_units_are_counted() -> None:
    model = nn.Conv2d(3, 3, 1)
    with torch.no_grad():
        model.weight[1] = 0
    net = Network.open(model, (3, 16, 16), "net")
    found = MatchedUnits()([net, net], "conv2d", images())
    assert np.isnan(found.columns["r"]).tolist() == [False, True, False]
    assert found.columns["match"].tolist() == [0, 1, 2]
    assert "net#2: 3 of 3 units stay in place, mean r 1.000; 1 without a correlation" in found.notes


def test_networks_of_different_width_and_more_than_two() -> None:
    wide, narrow = (Network.open(same_body(w, 1), (3, 16, 16), f"w{w}") for w in (5, 3))
    found = MatchedUnits()([wide, narrow, wide], "0", images(networks=3))
    assert found.columns["network"].tolist() == ["w3"] * 5 + ["w5#3"] * 5
    first = found.columns["match"][:5]
    assert sorted(first.tolist()) == [-1, -1, 0, 1, 2]
    assert np.isnan(found.columns["r"][:5][first < 0]).all()
    assert np.isnan(found.columns["r own"][3:5]).all()
    assert found.columns["match"][5:].tolist() == [0, 1, 2, 3, 4]


def test_without_images_by_the_filters_on_the_image() -> None:
    found = MatchedUnits()(plain(), "conv1")
    assert found.columns["match"].tolist() == np.argsort(ORDERS["conv1"]).tolist()
    np.testing.assert_allclose(found.columns["r"], 1)
    assert found.notes[0] == "no images: by the cosine of the filters"
    with pytest.raises(UsageError, match=r"units of conv2 cannot be matched by their filters; in plain its inputs are not"):
        MatchedUnits()(plain(), "conv2")
    with pytest.raises(ShapeError, match="the filters of conv1 differ in shape; 27 numbers in plain, 45 in non_square"):
        MatchedUnits()([opened("plain")[2], opened("non_square")[2]], "conv1")


def test_refusals_and_samples() -> None:
    nets = plain()
    with pytest.raises(UsageError, match="units are matched in one layer; none was named; name it: --layer conv2"):
        MatchedUnits()(nets, "", images())
    found = MatchedUnits(most=10, seed=3)(nets, "conv1", images())
    assert any(note == "sampled: 10 of 24 images, seed 3" for note in found.notes)
    only_broken = images(6)
    one = type(only_broken)(only_broken.collection.take([5, 5]), only_broken.preprocess)
    with pytest.raises(DataError, match="none of 2 images of set can be used by all networks; 2 could not be read"):
        MatchedUnits(batch=1)(nets, "conv1", one)


def test_each_network_reads_the_images_in_its_own_way() -> None:
    """The same network, trained on another range: its preprocessing undoes that."""
    model = nn.Conv2d(3, 4, 3)
    half = nn.Conv2d(3, 4, 3)
    with torch.no_grad():
        half.weight.copy_(model.weight[[2, 0, 3, 1]] / 255)
        half.bias.copy_(model.bias[[2, 0, 3, 1]])
    nets = [Network.open(m, (3, 16, 16), name) for m, name in ((model, "unit"), (half, "bytes"))]
    shown = type(images())(images().collection, (Preprocess(), Preprocess(range=255)))
    found = MatchedUnits()(nets, "conv2d", shown)
    assert found.columns["match"].tolist() == [1, 3, 0, 2]
    np.testing.assert_allclose(found.columns["r"], 1, atol=1e-5)
