"""What every method in `features/` keeps, on every layer of every net of `tests/nets.py`.

Turns red: in `features/filters.py`, `origin=net.origin(self)` -> nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convscope import registry
from convscope.errors import ConvscopeError, UnknownName
from convscope.network import Network
from convscope.results import Picture
from tests.contracts.leaves import check_description, check_stored_and_drawn, opened, same
from tests.nets import NETS
from tests.traces import unchanged


def answer(method: Any, net: Network, layer: str) -> Picture | ConvscopeError:
    try:
        return method(net, layer)
    except ConvscopeError as refusal:
        return refusal


LEAVES = registry.names("features")
each_leaf = pytest.mark.parametrize("leaf", LEAVES)


@each_leaf
def test_it_describes_itself(leaf: str) -> None:
    check_description("features", leaf)


@each_leaf
@pytest.mark.parametrize("name", NETS)
def test_every_layer_gives_a_picture_or_says_why_not(leaf: str, name: str) -> None:
    model, x, net = opened(name)
    method = registry.load("features", leaf)()
    answered = 0
    with unchanged(model, x):
        for layer in net.layers:
            found = answer(method, net, layer.address)
            if isinstance(found, ConvscopeError):
                assert all((found.asked, found.found, found.remedy))
                continue
            answered += 1
            assert found.tiles.shape[0] == len(found.units) == layer.output_shape[layer.unit_axis or 1]
            assert np.isfinite(found.tiles).all()
            assert all(net.unit(unit).layer == layer.address for unit in found.units)
            assert all(len(v) == len(found.units) for v in found.values.values())
            assert found.origin.method == repr(method)
            assert found.origin.network == net.print
            assert same(method(net, layer.address), found)
    assert answered or name == "rows_lstm"


@each_leaf
def test_no_trace_when_it_fails(leaf: str) -> None:
    model, x, net = opened("plain")
    with unchanged(model, x), pytest.raises(UnknownName):
        registry.load("features", leaf)()(net, "no such layer")


@each_leaf
@pytest.mark.parametrize(("name", "layer"), [("plain", "conv1"), ("plain", "conv2"), ("grey", "conv1")])
def test_stored_and_drawn(leaf: str, name: str, layer: str, tmp_path: Path) -> None:
    check_stored_and_drawn(registry.load("features", leaf)()(opened(name)[2], layer), tmp_path)
