"""What every proof in `equivalences/` keeps, on every layer of every net of `tests/nets.py`.

Turns red: in `equivalences/_proof.py`, `np.abs(one - other)` -> `np.abs(one + other)`.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convscope import registry
from convscope.errors import UsageError
from convscope.mechanics.capture import Capture
from convscope.mechanics.loss import Loss
from convscope.results import Layer, Table
from tests.contracts.leaves import check_description, check_stored_and_drawn, opened, same
from tests.nets import NETS
from tests.traces import unchanged

LEAVES = registry.names("equivalences")
each_leaf = pytest.mark.parametrize("leaf", LEAVES)


@functools.cache
def captured(name: str, loss: bool) -> Capture:
    _, x, net = opened(name)
    return Capture(net, x, Loss(labels=(1, 2)) if loss else None)


def layers_where(leaf: str, name: str) -> list[tuple[Any, Capture, Layer]]:
    """A leaf, a run and each layer of a net that the leaf applies to."""
    method, kept = registry.load("equivalences", leaf)(), captured(name, False)
    return [(method, kept, layer) for layer in kept.net.layers if not method.applies(kept, layer)]


@each_leaf
def test_it_describes_itself(leaf: str) -> None:
    check_description("equivalences", leaf)


@each_leaf
@pytest.mark.parametrize("name", NETS)
def test_every_layer_is_proved_or_says_why_not(leaf: str, name: str) -> None:
    model, x, net = opened(name)
    method = registry.load("equivalences", leaf)()
    kept = captured(name, True)
    with unchanged(model, x):
        for layer in net.layers:
            reason = method.applies(kept, layer)
            if reason:
                assert layer.address in reason or "comes" in reason or "between the two" in reason
                with pytest.raises(UsageError) as caught:
                    method(kept, layer)
                assert (caught.value.found, bool(caught.value.remedy)) == (reason, True)
                continue
            check(method(kept, layer), method, layer, net.print)


def check(found: Table, method: Any, layer: Layer, network: str) -> None:
    assert set(found.columns) == {"what", "difference", "one_way", "other_way", "largest"}
    compared = ~np.isnan(found.columns["difference"])
    assert compared.any()
    assert (found.columns["difference"][compared] <= 1e-12 * (1 + found.columns["largest"][compared])).all(), str(found)
    assert (found.columns["largest"][compared] > 0).all()
    assert all(found.columns["one_way"])
    assert all(found.columns["other_way"])
    assert layer.address in found.title
    assert (found.origin.method, found.origin.network) == (repr(method), network)


@each_leaf
def test_some_layer_of_some_net_is_proved_with_and_without_a_loss(leaf: str, tmp_path: Path) -> None:
    found = [layers for name in NETS if (layers := layers_where(leaf, name))]
    assert found
    method, kept, layer = found[0][0]
    proof = method(kept, layer)
    check(proof, method, layer, kept.net.print)
    assert same(method(kept, layer), proof)
    check_stored_and_drawn(proof, tmp_path)
