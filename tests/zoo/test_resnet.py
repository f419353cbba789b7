"""Where the stride is, and what a plain network is.

Turns red: `stride_first = True` → False in `Bottleneck2015`; `if self.shortcut` → `if True` in `_Block.end` (plain blocks).
"""

import pytest
import torch
from torch import nn

from tests.zoo.costs import build, multiply_adds
from tests.zoo.published import RECEPTIVE_FIELDS, RESNET50_2015


def receptive_field(model: nn.Module) -> int:
    """Of the last maps, along the longest path, which shortcuts are not on: r ← r + (k − 1)·j, j ← j·s."""
    size = step = 1
    for name, layer in model.named_modules():
        if isinstance(layer, (nn.Conv2d, nn.MaxPool2d)) and "downsample" not in name:
            kernel, stride = (v if isinstance(v, int) else v[0] for v in (layer.kernel_size, layer.stride))
            size, step = size + (kernel - 1) * step, step * stride
    return size


@pytest.mark.parametrize("name", RECEPTIVE_FIELDS)
def test_receptive_fields_of_the_published_layout(name: str) -> None:
    assert receptive_field(build(name, stride_in_1x1=True)) == RECEPTIVE_FIELDS[name]
    assert receptive_field(build(name)) < RECEPTIVE_FIELDS[name]
    assert receptive_field(build(name.replace("resnet", "plain"), stride_in_1x1=True)) == RECEPTIVE_FIELDS[name]


def test_resnet50_receptive_field_and_cost_by_layout() -> None:
    assert receptive_field(build("resnet50")) == 427
    assert multiply_adds(build("resnet50", stride_in_1x1=True), 3, 224, 224) == RESNET50_2015


def test_both_layouts_have_the_same_weights() -> None:
    old, new = build("resnet50", stride_in_1x1=True).state_dict(), build("resnet50").state_dict()
    assert [(k, v.shape) for k, v in old.items()] == [(k, v.shape) for k, v in new.items()]


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
def test_a_plain_network_has_the_names_of_its_resnet_without_shortcuts(depth: int) -> None:
    plain, full = build(f"plain{depth}").state_dict(), build(f"resnet{depth}").state_dict()
    assert [(k, v.shape) for k, v in plain.items()] == [(k, v.shape) for k, v in full.items() if "downsample" not in k]


@pytest.mark.parametrize("name", ["18", "50"])
def test_a_plain_block_is_the_residual_block_without_its_sum(name: str) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        full, plain = build(f"resnet{name}", "cpu", num_classes=3), build(f"plain{name}", "cpu", num_classes=3)
        x = torch.randn(2, 64, 9, 9)
    plain.load_state_dict({k: v for k, v in full.state_dict().items() if "downsample" not in k})
    for stage, side in ((1, 9), (2, 5)):
        ours, theirs = plain.get_submodule(f"layer{stage}.0"), full.get_submodule(f"layer{stage}.0")
        shortcut = theirs.get_submodule("downsample")(x) if theirs.downsample is not None else x
        last = theirs.get_submodule("bn2" if name == "18" else "bn3")
        before: list[torch.Tensor] = []
        handle = last.register_forward_hook(lambda module, inputs, output, before=before: before.append(output.clone()))
        whole = theirs(x)
        handle.remove()
        assert whole.shape[-1] == side
        assert torch.equal(ours(x), before[0].relu())
        assert torch.equal(whole, (before[0] + shortcut).relu())
        x = whole
