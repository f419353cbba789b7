"""What every method in `comparisons/` keeps, on every net of `tests/nets.py`, against a twin with other weights.

Turns red: in `comparisons/_images.py`, `networks[0].origin(method, seed=seed)` -> `networks[0].origin("", seed=seed)`.
"""

from __future__ import annotations

import copy
import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from convscope import inputs, record, registry
from convscope.comparisons._images import Images
from convscope.errors import ConvscopeError, UnknownName, UsageError
from convscope.network import Network
from convscope.results import Picture, Table
from tests.contracts.leaves import check_description, check_stored_and_drawn, opened, same
from tests.contracts.studies import collection
from tests.nets import NETS
from tests.traces import unchanged

LEAVES = registry.names("comparisons")
ALL_LAYERS = ("cka", "distance")  # '' asks about all layers at once
each_leaf = pytest.mark.parametrize("leaf", LEAVES)


def made(leaf: str) -> Any:
    return registry.load("comparisons", leaf)()


@functools.cache
def pair(name: str) -> tuple[tuple[nn.Module, nn.Module], tuple[Network, Network], Images | None]:
    """A net, the same with other weights, and images for both (none for a net that reads no images)."""
    model, x, net = opened(name)
    other = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in other.parameters():
            p += 0.1 * torch.randn(p.shape, generator=generator)
    twin = Network.open(other, x, f"{name}-later")
    prepared = inputs.preprocess_of(net)[0]
    return (model, other), (net, twin), Images(collection(24, *x.shape[2:], x.shape[1]), (prepared, prepared))


def answer(method: Any, networks: Any, layer: str, images: Images | None) -> Picture | Table | ConvscopeError:
    try:
        return method(networks, layer, images)
    except ConvscopeError as refusal:
        return refusal


@each_leaf
def test_it_describes_itself(leaf: str) -> None:
    check_description("comparisons", leaf)


@each_leaf
@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("shown", [False, True], ids=["weights alone", "with images"])
def test_every_layer_gives_an_answer_or_says_why_not(leaf: str, name: str, shown: bool) -> None:
    models, networks, images = pair(name)
    method, answered = made(leaf), 0
    chosen = [one.address for one in record.measurable(networks[0].layers)]
    asked = ["", *(chosen if leaf not in ALL_LAYERS else (chosen[0], chosen[-1]))]
    with unchanged(models[0]), unchanged(models[1]):
        for layer in asked:
            found = answer(method, networks, layer, images if shown else None)
            if isinstance(found, ConvscopeError):
                assert all((found.asked, found.found, found.remedy))
                continue
            answered += 1
            check_numbers(found)
            assert found.origin.method == repr(method)
            assert found.origin.network == f"{networks[0].print}+{networks[1].print}"
        if answered:
            layer = next(at for at in asked if not isinstance(answer(method, networks, at, images), ConvscopeError))
            assert same(method(networks, layer, images), method(networks, layer, images))
    needs = leaf == "cka" and not shown
    no_filters = name == "rows_lstm" and leaf == "filmstrip"
    blind = leaf == "matched-units" and not shown and name in ("rows_lstm", "norm_first")  # no weights on the image itself
    assert answered or needs or no_filters or blind


def check_numbers(found: Any) -> None:
    if isinstance(found, Picture):
        assert len(found.tiles) == len(found.units)
        assert np.isfinite(found.tiles).all()
        assert all(len(v) == len(found.units) for v in found.values.values())
        assert len(found.tiles) % found.columns == 0
        return
    assert isinstance(found, Table)
    assert len({len(v) for v in found.columns.values()}) == 1
    assert len(found) > 0
    for name in ("cosine", "r", "r own"):
        if name in found.columns:
            assert np.nanmax(np.abs(found.columns[name])) <= 1


@each_leaf
def test_no_trace_when_it_fails(leaf: str) -> None:
    models, networks, images = pair("plain")
    with unchanged(models[0]), unchanged(models[1]), pytest.raises(UnknownName, match="no layer named 'no such layer'"):
        made(leaf)(networks, "no such layer", images)


@each_leaf
def test_one_network_is_no_comparison(leaf: str) -> None:
    _, networks, images = pair("plain")
    with pytest.raises(UsageError, match="needs at least two networks; got 1; give a second network, or checkpoints of one"):
        made(leaf)(networks[:1], "conv1", images)


@each_leaf
@pytest.mark.parametrize(("name", "layer"), [("plain", "conv1"), ("plain", "conv2"), ("grey", "conv1")])
def test_stored_and_drawn(leaf: str, name: str, layer: str, tmp_path: Path) -> None:
    _, networks, images = pair(name)
    check_stored_and_drawn(made(leaf)(networks, layer, images), tmp_path)
