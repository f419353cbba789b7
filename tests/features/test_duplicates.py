"""Filters that were copied, negated, moved or emptied are found; so are units that a sweep never, or always, saw on.

Turns red: in `features/duplicates.py`, `(found.T, -1)` -> `(found.T, 1)`; in `features/_responding.py`,
`found.minimum > 0` -> `found.minimum >= -50`.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from convscope.errors import StoreError, UnknownName
from convscope.features._given import Given
from convscope.features.duplicates import Duplicates, alike
from convscope.images import Preprocess
from convscope.network import Network
from convscope.results import Table
from convscope.sweep import Sweep
from tests.contracts.leaves import opened
from tests.contracts.studies import collection, studied


def rows(found: Table) -> list[tuple[str, int, int]]:
    columns = (found.columns[k].tolist() for k in ("finding", "first", "second"))
    return list(zip(*columns, strict=True))


def planted() -> Network:
    model = nn.Conv2d(2, 7, 3).double()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        w = model.weight.normal_()
        w[0, :, :, 2], w[0, :, 0] = 0.0, 0.0  # room to move: down… and to the right
        w[2] = 3 * w[1]
        w[3] = -w[1] + 0.01 * w[0]
        w[4] = torch.roll(w[0], (-1, 1), (1, 2))  # up and to the right
        w[5] = 1e-6 * w[6]
    return Network.open(model, torch.zeros(1, 2, 8, 8, dtype=torch.float64))


def test_copies_negatives_moved_and_dead_filters_are_found() -> None:
    found = Duplicates()(planted(), "conv2d")
    assert rows(found) == [("same, moved", 0, 4), ("same", 1, 2), ("opposite", 1, 3), ("opposite", 2, 3),
                           ("dead weights", 5, -1)]
    c = found.columns
    np.testing.assert_allclose(c["cosine"][:2], 1)
    assert (c["down"].tolist(), c["right"].tolist()) == ([1, 0, 0, 0, 0], [-1, 0, 0, 0, 0])  # the second one, moved back
    assert c["group"].tolist() == [0, 1, 1, 1, -1]
    assert c["norm"][-1] < 1e-5
    assert found.notes[0] == ("pairs with |cosine| ≥ 0.9, at the same place or moved by a pixel: 4; units in them: 5 of 7; "
                              "groups: 2")
    assert found.notes[1] == "units whose weights are (nearly) zero: 1 of 7"
    assert ("same, moved", 0, 4) not in rows(Duplicates(moved=False)(planted(), "conv2d"))


def slow(a: np.ndarray, b: np.ndarray) -> dict[tuple[int, int], float]:
    """The cosine of two filters for every move of b, weight by weight."""
    found = {}
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            total = 0.0
            for (c, i, j), v in np.ndenumerate(a):
                if 0 <= i - down < a.shape[1] and 0 <= j - right < a.shape[2]:
                    total += v * b[c, i - down, j - right]
            found[down, right] = total / np.sqrt((a**2).sum() * (b**2).sum())
    return found


def test_every_cosine_is_the_largest_of_nine() -> None:
    w = np.random.default_rng(0).standard_normal((5, 2, 3, 4))
    cosine, moves = alike(w / np.sqrt((w**2).sum((1, 2, 3)))[:, None, None, None], True)
    for a in range(5):
        for b in range(5):
            every = slow(w[a], w[b])
            assert abs(cosine[a, b]) == pytest.approx(max(map(abs, every.values())))
            assert every[tuple(moves[a, b].tolist())] == pytest.approx(cosine[a, b])


def test_small_kernels_and_dense_layers_are_compared_where_they_are() -> None:
    net = opened("plain")[2]
    assert "at the same place only" in Duplicates()(net, "fc1").notes[0]
    assert len(Duplicates(threshold=0.1)(net, "fc1")) > 0
    with pytest.raises(UnknownName, match=r"no layer with weights named 'pool1'.*max_pool2d has no weights of its own"):
        Duplicates()(net, "pool1")


def test_a_layer_of_zeros_is_dead_altogether() -> None:
    model = nn.Conv2d(1, 2, 3)
    nn.init.zeros_(model.weight)
    found = Duplicates()(Network.open(model, (1, 4, 4)), "conv2d")
    assert rows(found) == [("dead weights", 0, -1), ("dead weights", 1, -1)]


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Network, Given]:
    """conv → bn → relu, biases that keep units 0 and 1 off and unit 2 on, whatever comes; and 'bare' that feeds no ReLU."""
    model = nn.Sequential(OrderedDict(conv=nn.Conv2d(1, 5, 3, bias=False), bn=nn.BatchNorm2d(5), relu=nn.ReLU(),
                                      bare=nn.Conv2d(5, 2, 3))).eval()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(1)
        model.conv.weight.normal_(0, 0.1)  # type: ignore[union-attr,operator]
        model.bn.bias[:] = torch.tensor([-50.0, -50.0, 50.0, 0.0, 0.0])  # type: ignore[index]
    net = Network.open(model, (1, 12, 12))
    preprocess = Preprocess(mean=(0.5,), std=(0.25,), channels="L")
    record = Sweep(top=2, batch=8)(net, collection(10, 12, 12, 1), preprocess, tmp_path_factory.mktemp("sweep"))
    return net, Given(record=record)


def test_a_sweep_tells_who_was_never_and_who_was_always_on(swept: tuple[Network, Given]) -> None:
    net, given = swept
    found = Duplicates(threshold=1.0)(net, "conv", given)
    assert rows(found) == [("never on", 0, -1), ("never on", 1, -1), ("always on", 2, -1)]
    assert found.notes[-1] == "2 of 5 units never on and 1 always on, over 9 images, read at bn"
    assert Duplicates()(net, "bare", given).notes[-1] == "responses say nothing here: bare feeds no ReLU of its own"
    assert Duplicates()(net, "conv").notes[-1] == "responses were not looked at: no sweep was given"


def test_a_sweep_that_lacks_something_says_so(swept: tuple[Network, Given], tmp_path: Path) -> None:
    net, _ = swept
    preprocess = Preprocess(mean=(0.5,), std=(0.25,), channels="L")
    images = collection(4, 12, 12, 1)
    other = Sweep(top=2, batch=8)(net, images, preprocess, tmp_path / "a", layers=("bare",))
    assert Duplicates()(net, "conv", Given(record=other)).notes[-1] == (
        "responses were not looked at: the sweep has not measured bn")
    top = Sweep(top=2, batch=8, measure="top")(net, images, preprocess, tmp_path / "b", layers=("relu",))
    assert Duplicates()(net, "conv", Given(record=top)).notes[-1] == (
        "2 of 5 units never on and 0 always on, over 4 images, read at relu; whether always on was not measured "
        "(measure='all' does)")
    with pytest.raises(StoreError, match=r"is of another network; print .*; sweep again with this network"):
        Duplicates()(net, "conv", Given(record=studied("plain")[1].record))
