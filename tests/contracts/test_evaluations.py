"""What every measure in `evaluations/` keeps.

Turns red: in `evaluations/_baselines.py`, `sobel` over the whole batch at once (it smooths along the batch) · in
`_case.draws`, without the image's print (every image of a batch gets the same numbers as before, but not as a single).
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from convscope import registry
from convscope.errors import ShapeError
from convscope.evaluations._baselines import BASELINES, baseline
from convscope.evaluations._case import Case
from convscope.judging import columns_of
from convscope.network import Network
from convscope.results import Heatmap, Table
from convscope.run import Target
from tests.contracts.leaves import check_description, check_stored_and_drawn, opened, same
from tests.nets import NETS
from tests.traces import unchanged

LEAVES = registry.names("evaluations")
each_leaf = pytest.mark.parametrize("leaf", LEAVES)
RANKING = [leaf for leaf in LEAVES if registry.load("evaluations", leaf).ranks]


def slope(net: Network, x: torch.Tensor, target: Target) -> Heatmap:
    """Gradient × input, as a map in units of the score."""
    found = registry.load("attributions", "gradient")()(net, x, target)
    return dataclasses.replace(found, values=found.values * x.detach().numpy(), unit="score")


def case_of(name: str, at: slice = slice(None), **facts: object) -> Case:
    _, x, net = opened(name)
    x, target = x[at], Target("1", 1)
    truth = np.zeros((2, *x.shape[2:]), bool)
    truth[:, 2:6, 3:8] = True
    made = {"heat": slope(net, x, target), "method": slope, "truth": truth[at], **facts}
    return Case(net, x, target, **made)  # type: ignore[arg-type]


@each_leaf
def test_it_describes_itself(leaf: str) -> None:
    check_description("evaluations", leaf)
    made = registry.load("evaluations", leaf)()
    assert (made.name, made.better in ("higher", "lower")) == (leaf, True)


@each_leaf
@pytest.mark.parametrize("name", NETS)
def test_a_row_an_image_the_same_bits_twice_and_no_trace(leaf: str, name: str, tmp_path: Path) -> None:
    model, x, net = opened(name)
    measure, case = registry.load("evaluations", leaf)(), case_of(name)
    with unchanged(model, x):
        found: Table = measure(case)
    assert same(measure(case_of(name)), found)
    assert len(found) == len(x)
    for column in columns_of(measure):
        assert found.columns[column].shape == (len(x),)
        assert np.isfinite(found.columns[column]).all(), column
    assert set(found.units) <= set(found.columns)
    assert found.notes
    assert (found.origin.method, found.origin.network) == (repr(measure), net.print)
    if name == "plain":
        check_stored_and_drawn(found, tmp_path)


@each_leaf
@pytest.mark.parametrize("name", ["plain", "residual", "grey"])
def test_a_batch_gives_what_singles_give(leaf: str, name: str) -> None:
    together = registry.load("evaluations", leaf)()(case_of(name))
    for b in range(2):
        alone = registry.load("evaluations", leaf)()(case_of(name, slice(b, b + 1)))
        for column, values in alone.columns.items():
            if column != "image":
                np.testing.assert_allclose(values[0], together.columns[column][b], rtol=1e-4, atol=1e-4, err_msg=column)


@pytest.mark.parametrize("leaf", [leaf for leaf in RANKING if leaf != "pixel-flipping"])  # that one adds up evidence
def test_only_the_order_of_pixels_counts(leaf: str) -> None:
    case, measure = case_of("plain"), registry.load("evaluations", leaf)()
    curved = dataclasses.replace(case.heat, values=np.cbrt(case.heat.map.astype(np.float64))[:, None] * 7 + 3)
    other = measure(dataclasses.replace(case, heat=curved))
    column = leaf.replace("-", "_")
    assert np.array_equal(other.columns[column], measure(case).columns[column])


@each_leaf
def test_another_seed_is_said_and_changes_what_is_drawn(leaf: str) -> None:
    found, other = (registry.load("evaluations", leaf)()(case_of("plain", seed=seed)) for seed in (0, 1))
    assert other.origin.seed == 1
    drawn = not same(dataclasses.replace(other, origin=found.origin), dataclasses.replace(found, notes=other.notes))
    assert drawn == (leaf in ("pixel-flipping", "road", "sensitivity", "randomisation"))


@pytest.mark.parametrize("name", BASELINES)
def test_baselines_know_nothing_of_the_network_and_give_a_batch_as_singles(name: str) -> None:
    model, x, net = opened("plain")
    _, _, other = opened("residual")
    with unchanged(model, x):
        found = baseline(name, 0)(net, x, Target("1", 1)).values
    assert np.array_equal(found, baseline(name, 0)(other, x, Target("3", 3)).values)
    for b in range(2):
        assert np.array_equal(baseline(name, 0)(net, x[b : b + 1], Target("1", 1)).values[0], found[b])


def test_the_edge_map_is_sobels_magnitude() -> None:
    """Of a step of height 2 from left to right: 4·2 on both sides of it, nothing elsewhere."""
    _, _, net = opened("plain")
    x = torch.zeros(1, 3, 6, 6)
    x[..., 3:] = 2
    found = baseline("edge map", 0)(net, x, Target("0", 0)).map[0]
    assert np.array_equal(found, np.tile([0.0, 0, 8, 8, 0, 0], (6, 1)))


def test_the_random_map_follows_its_seed() -> None:
    _, x, net = opened("plain")
    maps = [baseline("random map", seed)(net, x, Target("0", 0)).values.tobytes() for seed in (0, 1)]
    assert maps[0] != maps[1]


def test_sizes_that_do_not_fit_are_refused() -> None:
    case = case_of("plain")
    with pytest.raises(ShapeError, match=r"the truth has the shape \(2, 3, 3\); the images are \(2, 3, 16, 16\); give one"):
        dataclasses.replace(case, truth=np.ones((2, 3, 3), bool))
