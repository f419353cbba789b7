"""Activation maps are the layer's own values.

Turns red: in `responses/activation_maps.py`, `maps[: self.most]` -> `maps.abs()[: self.most]`.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from convscope.errors import DataError, UnknownName, UsageError
from convscope.responses.activation_maps import ActivationMaps
from tests.contracts.studies import BROKEN, studied


def test_they_are_what_the_module_computes() -> None:
    model, study, _ = studied("plain")
    x = torch.from_numpy(study.preprocess(study.collection[3]))[None]
    wanted = model.conv1(x).detach()[0].numpy()  # type: ignore[operator]
    found = ActivationMaps(image=3)(study, "conv1")
    np.testing.assert_array_equal(found.tiles, wanted)
    assert found.signed
    assert not ActivationMaps(image=3)(study, "relu1").signed
    np.testing.assert_allclose(found.values["max"], wanted.max((1, 2)))
    np.testing.assert_allclose(found.values["mean"], wanted.mean((1, 2)), rtol=1e-5)
    assert found.units == tuple(f"conv1/{u}" for u in range(6))
    assert found.title == "conv1 on set/003"


def test_only_so_many_units_are_shown_and_that_is_said() -> None:
    _, study, _ = studied("plain")
    found = ActivationMaps(most=2)(study, "conv1")
    assert len(found.tiles) == 2
    assert found.notes == ("the first 2 of 6 units",)


def test_a_sequence_is_one_row() -> None:
    _, study, embed = studied("rows_lstm")
    assert ActivationMaps()(study, embed[0]).tiles.shape == (8, 1, 12)


def test_what_has_no_maps_is_refused() -> None:
    _, study, _ = studied("plain")
    with pytest.raises(UsageError, match=r"fc1 has no maps; its output is \(1, 10\); choose a layer before the flattening"):
        ActivationMaps()(study, "fc1")
    with pytest.raises(DataError, match="the file is cut short"):
        ActivationMaps(image=BROKEN)(study, "conv1")
    with pytest.raises(UnknownName, match="numbers go from 0 to 15"):
        ActivationMaps(image=99)(study, "conv1")


def test_a_network_bound_to_its_batch_gets_that_batch() -> None:
    _, study, _ = studied("plain")
    bound = dataclasses.replace(study.net, batch=2, _at={})
    found = ActivationMaps(image=3)(dataclasses.replace(study, net=bound), "conv1")
    np.testing.assert_allclose(found.tiles, ActivationMaps(image=3)(study, "conv1").tiles, rtol=1e-5, atol=1e-6)
