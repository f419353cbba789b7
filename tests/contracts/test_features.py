"""What every method in `features/` keeps, on every layer of every net of `tests/nets.py`.

Turns red: in `features/filters.py`, `origin=net.origin(self)` -> nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convscope import inputs, registry
from convscope.errors import ConvscopeError, UnknownName
from convscope.features._given import NOTHING, Given
from convscope.network import Network
from convscope.results import Layer, Picture, Table
from tests.contracts.leaves import check_description, check_stored_and_drawn, opened, same
from tests.nets import NETS
from tests.traces import unchanged

QUICK: dict[str, dict[str, Any]] = {  # settings that make a slow method quick
    "activation-maximisation": {"steps": 2, "most": 2},
    "caricature": {"steps": 2},
    "dream": {"steps": 1, "octaves": 2},
    "decoder": {"steps": 2, "shown": 2, "minutes": 0.0},
    "inversion": {"steps": 2},
}
# methods that are asked about the first and last layer only, for they take seconds a layer
FEW: tuple[str, ...] = ("decoder", "inversion")


def made(leaf: str) -> Any:
    return registry.load("features", leaf)(**QUICK.get(leaf, {}))


def asked_of(leaf: str, net: Network) -> tuple[Layer, ...]:
    return (net.layers[0], net.layers[-1]) if leaf in FEW else net.layers


def given(net: Network) -> Given:
    """An image of noise that the network can read, and a collection of four."""
    preprocess, _ = inputs.preprocess_of(net) if len(net.input_shape) == 4 else (None, "")
    if preprocess is None:
        return NOTHING
    shape = (*net.input_shape[2:], net.input_shape[1])
    noise = np.random.default_rng(0).integers(0, 256, (4, *shape), np.uint8)
    return Given(image=noise[0], images=lambda i: noise[i], count=len(noise))


def answer(method: Any, net: Network, layer: str) -> Picture | Table | ConvscopeError:
    try:
        return method(net, layer, given(net))
    except ConvscopeError as refusal:
        return refusal


LEAVES = registry.names("features")
each_leaf = pytest.mark.parametrize("leaf", LEAVES)


@each_leaf
def test_it_describes_itself(leaf: str) -> None:
    check_description("features", leaf)


@each_leaf
@pytest.mark.parametrize("name", NETS)
def test_every_layer_gives_an_answer_or_says_why_not(leaf: str, name: str) -> None:
    model, x, net = opened(name)
    method = made(leaf)
    answered = 0
    with unchanged(model, x):
        for layer in asked_of(leaf, net):
            found = answer(method, net, layer.address)
            if isinstance(found, ConvscopeError):
                assert all((found.asked, found.found, found.remedy))
                continue
            answered += 1
            check_numbers(found)
            assert found.origin.method == repr(method)
            assert found.origin.network == net.print
            assert same(method(net, layer.address, given(net)), found)
    assert answered or name == "rows_lstm"


def check_numbers(found: Any) -> None:
    if isinstance(found, Picture):
        assert len(found.tiles) == len(found.units)
        assert np.isfinite(found.tiles).all()
        assert all(len(v) == len(found.units) for v in found.values.values())
    else:
        assert isinstance(found, Table)
        assert len({len(v) for v in found.columns.values()}) == 1


@each_leaf
def test_no_trace_when_it_fails(leaf: str) -> None:
    model, x, net = opened("plain")
    with unchanged(model, x), pytest.raises(UnknownName):
        made(leaf)(net, "no such layer", given(net))


@each_leaf
@pytest.mark.parametrize(("name", "layer"), [("plain", "conv1"), ("plain", "conv2"), ("grey", "conv1")])
def test_stored_and_drawn(leaf: str, name: str, layer: str, tmp_path: Path) -> None:
    net = opened(name)[2]
    found = answer(made(leaf), net, layer)
    if not isinstance(found, ConvscopeError):
        check_stored_and_drawn(found, tmp_path)
