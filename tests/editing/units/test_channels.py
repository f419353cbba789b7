"""Labels of channels: who writes, carries and reads them, which are one, and which cannot be changed, and why.

Mutation that turns it red: in `channels.py`, `np.repeat(self.labels[value], k)` -> `np.tile(self.labels[value], k)`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from convscope.editing import Draft
from convscope.editing.units.channels import Channels
from convscope.errors import UsageError
from convscope.network import Network
from tests.nets import NETS


def followed(name: str, **how: Any) -> Channels:
    model, x = NETS[name]()
    return Channels(Draft.of(Network.open(model, x, name)), **how)


def of_module(model: nn.Module, *shape: int, **how: Any) -> Channels:
    return Channels(Draft.of(Network.open(model.eval(), torch.zeros(2, *shape))), **how)


def at(plan: Channels, address: str) -> np.ndarray[Any, Any]:
    return plan.of(plan.draft[address])


def test_a_flattened_channel_is_a_block_of_numbers() -> None:
    plan = followed("plain")
    assert np.array_equal(at(plan, "flatten"), np.repeat(at(plan, "conv2"), 16))
    assert np.array_equal(at(plan, "conv2"), at(plan, "pool2"))
    assert not set(at(plan, "conv1")) & set(at(plan, "conv2"))
    unit = int(at(plan, "conv2")[5])
    assert [plan.draft.address(n) for n in plan.writers()[unit]] == ["conv2"]
    assert [plan.draft.address(n) for n in plan.readers()[unit]] == ["flatten"]


def test_what_is_added_is_one_and_what_is_joined_stands_one_behind_the_other() -> None:
    plan = followed("residual")
    assert np.array_equal(at(plan, "conv1"), at(plan, "block1.conv2"))
    assert np.array_equal(at(plan, "block2.conv2"), at(plan, "block2.downsample.0"))
    joined = followed("concat")
    parts = [at(joined, f"branch{i}") for i in ("1.0", "2.2", "3.2", "4.1")]
    assert np.array_equal(at(joined, "concat"), np.concatenate(parts))


def test_a_module_called_twice_reads_and_writes_the_same() -> None:
    plan = followed("shared_module")
    assert np.array_equal(at(plan, "stem"), at(plan, "conv"))
    assert np.array_equal(at(plan, "conv"), at(plan, "conv:1"))


def test_depthwise_filters_follow_their_channel_and_groups_share_places_or_go_whole() -> None:
    plan = followed("grouped")
    conv1 = at(plan, "conv1")  # 8 channels in two groups
    assert np.array_equal(conv1[:4], conv1[4:])
    assert len(set(conv1)) == 4
    assert np.array_equal(at(plan, "doubled"), np.repeat(conv1, 2))
    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 16, 3, groups=4), nn.Conv2d(16, 2, 1))
    whole, slots = of_module(model, 3, 6, 6), of_module(model, 3, 6, 6, slots=True)
    assert np.array_equal(at(whole, "1"), np.repeat(at(whole, "0")[::2], 4))
    assert len(set(at(whole, "0"))) == 4
    assert np.array_equal(at(slots, "0"), np.tile(at(slots, "0")[:2], 4))
    assert not set(at(slots, "0")) & set(at(slots, "1"))


class Shuffle(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.last = nn.Conv2d(3, 6, 1), nn.Conv2d(6, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        x = x.view(x.shape[0], 2, 3, 4, 4).transpose(1, 2).reshape(x.shape[0], 6, 4, 4)
        return self.last(x)


@pytest.mark.parametrize(("model", "address", "why"), [
    (Shuffle(), "conv", "transpose"),
    (nn.Sequential(nn.Conv2d(3, 4, 1), nn.LocalResponseNorm(3), nn.Conv2d(4, 2, 1)), "0", "1 (LocalResponseNorm) may mix"),
    (nn.Sequential(nn.Conv2d(3, 4, 1), nn.Softmax(1), nn.Conv2d(4, 2, 1)), "0", "1 (Softmax) may mix channels"),
    (nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()), "0", "1 is the network's answer"),
    (nn.Sequential(nn.Conv2d(4, 4, 1, groups=4), nn.Conv2d(4, 2, 1)), "0", "the network's input"),
])
def test_what_cannot_be_followed_is_pinned_with_its_reason(model: nn.Module, address: str, why: str) -> None:
    convolution = next(m for m in model.modules() if isinstance(m, nn.Conv2d))
    plan = of_module(model, convolution.in_channels, 4, 4)
    classes = at(plan, address)
    assert all(why in plan.pins[int(c)] for c in classes)


def test_a_value_without_channels_is_refused() -> None:
    plan = followed("plain")
    node = plan.draft.root.graph.output_node()
    with pytest.raises(UsageError, match=r"the channels of output; its value has none; choose a layer that has channels"):
        plan.of(node)
