"""What every method in `responses/` keeps, on every net of `tests/nets.py`.

Turns red: in `responses/_study.py`, `facts.network != self.net.print` -> `False`.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convscope import registry
from convscope.errors import StoreError, UnknownName, UsageError
from convscope.network import map_of
from convscope.results import Cloud, Picture, Table
from tests.contracts.leaves import check_description, check_stored_and_drawn, opened, same
from tests.contracts.studies import collection, studied
from tests.nets import NETS
from tests.traces import unchanged

LEAVES = registry.names("responses")
NEEDS_MAPS = ("activation-maps",)
QUICK: dict[str, dict[str, Any]] = {"tsne": {"iterations": 30}, "top-images": {"k": 4},
                                    "probe": {"folds": 2}, "invariance": {"steps": 2}, "dissection": {"examples": 2},
                                    "activation-atlas": {"grid": 2, "layout": "pca", "steps": 1, "judged": 4}}
each_leaf = pytest.mark.parametrize("leaf", LEAVES)


def made(leaf: str) -> Any:
    return registry.load("responses", leaf)(**QUICK.get(leaf, {}))


@each_leaf
def test_it_describes_itself(leaf: str) -> None:
    check_description("responses", leaf)


@each_leaf
@pytest.mark.parametrize("name", NETS)
def test_every_net_answers_without_a_trace(leaf: str, name: str) -> None:
    model, study, embed = studied(name)
    method = made(leaf)
    for layer in embed:
        if leaf in NEEDS_MAPS and map_of(study.net[layer]) is None:
            with unchanged(model), pytest.raises(UsageError):
                method(study, layer)
            continue
        with unchanged(model):
            found = method(study, layer)
        assert found.origin.method == repr(method)
        assert found.origin.network == study.net.print
        assert found.origin.input == study.collection.fingerprint[:16]
        check_numbers(found)
        with unchanged(model):
            assert same(method(study, layer), found)


def check_numbers(found: Any) -> None:
    if isinstance(found, Cloud):
        assert found.points.shape == (len(found.ids), 2)
        assert np.isfinite(found.points).all()
        assert found.labels is not None
        assert len(found.labels) == len(found.ids)
    elif isinstance(found, Picture):
        assert len(found.tiles) == len(found.units)
        assert np.isfinite(found.tiles).all()
        assert all(len(v) == len(found.units) for v in found.values.values())
    else:
        assert isinstance(found, Table)
        assert len({len(v) for v in found.columns.values()}) == 1
        assert len(found) > 0


@each_leaf
def test_no_trace_when_it_fails(leaf: str) -> None:
    model, study, _ = studied("plain")
    with unchanged(model), pytest.raises(UnknownName, match="no"):
        made(leaf)(study, "no such layer")


@each_leaf
def test_stored_and_drawn(leaf: str, tmp_path: Path) -> None:
    _, study, embed = studied("plain")
    check_stored_and_drawn(made(leaf)(study, embed[0]), tmp_path)


@pytest.mark.parametrize("leaf", ["neighbours", "pca", "tsne"])
def test_layers_without_embeddings_say_how_to_keep_them(leaf: str) -> None:
    _, study, _ = studied("plain")
    with pytest.raises(UnknownName, match=r"no embedded layer named 'pool1'.*name it in --embed when sweeping"):
        made(leaf)(study, "pool1")


def test_a_record_of_something_else_is_refused() -> None:
    _, study, _ = studied("plain")
    with pytest.raises(StoreError, match=r"is of another network; print .*; sweep again with this network"):
        dataclasses.replace(study, net=opened("no_bias")[2])
    with pytest.raises(StoreError, match="is of other images or another preprocessing; this is set with RGB"):
        dataclasses.replace(study, collection=collection(9, 16, 16, 3))
    with pytest.raises(StoreError, match="is of other images or another preprocessing"):
        dataclasses.replace(study, preprocess=dataclasses.replace(study.preprocess, std=(0.5,)))
