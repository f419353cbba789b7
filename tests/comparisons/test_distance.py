"""Distances by hand, of the right tensors, each at the layer that reads it.

Turns red: in `comparisons/distance.py`, `moved / a` -> `moved / b` · `owners.setdefault(node.name, one.address)` ->
`owners[node.name] = one.address` (a shared module would stand at its last call) · `< 0).mean()` -> `<= 0).mean()`.
"""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from convscope.comparisons.distance import Distance
from convscope.errors import UsageError
from convscope.network import Network
from tests.contracts.leaves import opened


def one(weight: list[float], bias: list[float], name: str) -> Network:
    model = nn.Conv2d(1, 2, (1, 2))
    with torch.no_grad():
        model.weight.copy_(torch.tensor(weight).reshape(2, 1, 1, 2))
        model.bias.copy_(torch.tensor(bias))
    return Network.open(model, (1, 4, 4), name)


def test_by_hand() -> None:
    start = one([3.0, 0.0, 0.0, 4.0], [0.0, 0.0], "start")
    end = one([3.0, 0.0, 0.0, -4.0], [0.0, 2.0], "end")
    middle = one([3.0, 2.0, 0.0, 4.0], [0.0, 0.0], "middle")
    found = Distance()([start, middle, end])
    columns = {k: v.tolist() for k, v in found.columns.items()}
    assert columns["network"] == ["middle", "middle", "end", "end"]
    assert columns["layer"] == ["conv2d"] * 4
    assert columns["tensor"] == ["weight", "bias"] * 2
    np.testing.assert_allclose(columns["relative"], [2 / 5, np.nan, 8 / 5, np.nan])
    np.testing.assert_allclose(columns["cosine"], [25 / 5 / np.sqrt(29), np.nan, (9 - 16) / 25, np.nan])
    np.testing.assert_allclose(columns["norm before"], [5, 0, 5, 0])
    np.testing.assert_allclose(columns["norm"], [np.sqrt(29), 0, 5, 2])
    assert columns["signs flipped"] == [0, 0, 0.25, 0]
    assert columns["numbers"] == [4, 2, 4, 2]
    assert found.title == "2 networks against start"
    assert found.notes == ()
    assert found.origin.network.startswith(f"{start.print}+2 more (")


def test_batch_norms_statistics_are_named_and_can_be_left_out() -> None:
    model, x, net = opened("residual")
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.bn1.running_var *= 3  # type: ignore[union-attr,operator]
    moved = Network.open(other, x, "moved")
    found = Distance()([net, moved], "bn1")
    assert found.columns["tensor"].tolist() == ["weight", "bias", "running_mean", "running_var"]
    np.testing.assert_allclose(found.columns["relative"], [0, 0, 0, 2], atol=1e-6)
    np.testing.assert_allclose(found.columns["cosine"], 1)
    assert Distance(statistics=False)([net, moved], "bn1").columns["tensor"].tolist() == ["weight", "bias"]
    whole = Distance()([net, moved])
    floats = [k for k, v in model.state_dict().items() if v.is_floating_point()]
    assert len(whole) == len(floats)
    assert found.title == "moved against residual"


def test_a_shared_module_stands_at_its_first_call() -> None:
    model, x, net = opened("shared_module")
    found = Distance()([net, Network.open(copy.deepcopy(model), x, "other")])
    assert found.columns["layer"].tolist() == ["stem", "stem", "conv", "conv", "head.2", "head.2"]
    again = Distance()([net, net], "conv:1")
    assert again.columns["tensor"].tolist() == ["weight", "bias"]
    assert again.notes == ("the networks share their weights in memory: training one has changed the other",)


def test_a_computed_weight_is_compared_by_what_it_is_computed_from() -> None:
    def made(seed: int) -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv2d(1, 2, 3)), nn.ReLU())

    found = Distance()([Network.open(made(0), (1, 6, 6), "a"), Network.open(made(1), (1, 6, 6), "b")], "0")
    assert {n.rpartition(".")[2] for n in found.columns["tensor"].tolist()} == {"original0", "original1", "bias"}


def test_what_is_in_one_network_only_is_said() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        small = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Conv2d(2, 3, 1))
        large = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Conv2d(2, 4, 1))
    nets = [Network.open(model, (1, 6, 6), name) for model, name in ((small, "small"), (large, "large"))]
    found = Distance()(nets)
    assert found.columns["layer"].tolist() == ["0", "0"]
    assert found.notes == ("left out: 2 of 4 tensors that large has not, or of another shape: 1.weight, 1.bias",)
    with pytest.raises(UsageError, match=r"nothing to compare in 1 of small, large; no tensor .* has the same name and"):
        Distance()(nets, "1")
