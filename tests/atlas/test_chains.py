"""Which layers speak of the same units, and in what order the units come.

Turns red: in `chains.principals`, follow the first parent of every operator (test_chains); in `_last`,
drop the count of the readers (test_a_norm_that_is_not_the_only_reader); in `ranking`, leave `dead` out of the sort
(test_dead_units).
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from convscope import record
from convscope.atlas.chains import principals, ranking, unit_count
from convscope.network import Network, units_of
from tests.contracts.leaves import opened
from tests.nets import NETS

FOUND = {
    "plain": {"conv1": "conv1", "relu1": "conv1", "conv2": "conv2", "relu2": "conv2", "fc1": "fc1", "relu3": "fc1",
              "fc2": "fc2"},
    "functional_relu": {"conv1": "conv1", "relu": "conv1", "conv2": "conv2", "relu:1": "conv2", "fc": "fc"},
    "reused_relu": {"conv1": "conv1", "relu": "conv1", "conv2": "conv2", "relu:1": "conv2", "fc1": "fc1", "relu:2": "fc1",
                    "fc2": "fc2"},
    # The ReLU behind a sum speaks of no filter: the sum has two.
    "residual": {
        "conv1": "bn1", "bn1": "bn1", "relu": "bn1",
        "block1.conv1": "block1.bn1", "block1.bn1": "block1.bn1", "block1.relu": "block1.bn1",
        "block1.conv2": "block1.bn2", "block1.bn2": "block1.bn2",
        "block2.conv1": "block2.bn1", "block2.bn1": "block2.bn1", "block2.relu": "block2.bn1",
        "block2.conv2": "block2.bn2", "block2.bn2": "block2.bn2",
        "block2.downsample.0": "block2.downsample.1", "block2.downsample.1": "block2.downsample.1",
        "head.2": "head.2",
    },
    "shared_module": {"stem": "stem", "relu": "stem", "conv": "conv", "relu:1": "conv", "conv:1": "conv:1",
                      "relu:2": "conv:1", "head.2": "head.2"},
    "norm_first": {"conv1": "bn1", "bn1": "bn1", "relu1": "bn1", "conv2": "bn2", "bn2": "bn2", "conv3": "conv3",
                   "relu2": "conv3", "head.2": "head.2"},
}  # fmt: skip


def chains(net: Network) -> dict[str, str]:
    return principals(net, tuple(layer.address for layer in record.measurable(net.layers)))


@pytest.mark.parametrize("name", list(FOUND))
def test_chains(name: str) -> None:
    assert chains(opened(name)[2]) == FOUND[name]


def test_no_wrong_sibling_in_a_concatenation() -> None:
    net = opened("concat")[2]
    found = chains(net)
    assert {a: p for a, p in found.items() if a.startswith("branch2")} == {
        "branch2.0": "branch2.0", "branch2.1": "branch2.0", "branch2.2": "branch2.2", "branch2.3": "branch2.2"}  # fmt: skip
    assert not [a for a in found if net[a].operator in ("concat", "cat", "max_pool2d")]


@pytest.mark.parametrize("name", [n for n in NETS if n != "rows_lstm"])
def test_a_chain_has_one_number_of_units_and_ends_before_the_activation(name: str) -> None:
    net = opened(name)[2]
    for layer, principal in chains(net).items():
        assert units_of(net[layer]) == unit_count(net, principal)
        assert net[principal].operator.startswith(("conv", "linear", "batch_norm"))
        assert chains(net)[principal] == principal


class Twice(nn.Module):
    """The convolution is read by its norm and by the sum."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return self.bn(y) + y


def test_a_norm_that_is_not_the_only_reader() -> None:
    assert chains(Network.open(Twice().eval(), (1, 8, 8))) == {"conv": "conv", "bn": "conv"}


def test_a_norm_that_was_not_measured_ends_no_chain() -> None:
    net = opened("residual")[2]
    assert principals(net, ("conv1", "relu")) == {"conv1": "conv1"}


def recorded(**columns: Any) -> Any:
    return SimpleNamespace(table=lambda layer: SimpleNamespace(columns={k: np.array(v) for k, v in columns.items()}))


def test_dead_units_come_last_however_selective() -> None:
    order, dead, words = ranking(recorded(maximum=[1.0, 0.0, 2.0, -1.0, 3.0], selectivity=[0.2, 0.9, np.nan, 1.0, 0.2]), "x")
    assert order == [0, 4, 2, 3, 1]  # equal ones by number; not known after known
    assert (dead, words) == (2, "most selective for a class first")


def test_without_labels_the_order_is_how_far_the_strongest_stands_out() -> None:
    table = recorded(maximum=[1.0, 5.0, 4.0], mean=[0.0, 1.0, 1.0], deviation=[0.5, 4.0, 0.0], selectivity=[np.nan] * 3)
    order, dead, words = ranking(table, "x")
    assert order == [0, 1, 2]  # 2, 1, and one that never changes
    assert (dead, words) == (0, "strongest response furthest from the mean first")


def test_a_seed_free_order() -> None:
    state = torch.random.get_rng_state()
    table = recorded(maximum=[1.0, 1.0], mean=[0.0, 0.0], deviation=[1.0, 1.0])
    assert ranking(table, "x")[0] == [0, 1]
    assert torch.equal(state, torch.random.get_rng_state())
