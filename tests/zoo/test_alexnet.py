"""AlexNet of 2012 as the paper describes it.

Turns red: `alpha=5e-4` → 1e-4 (torch divides by the number of channels, the paper does not); `groups=2` left out;
`stride=4` → 2; `"fc6"` taken from the list of biases.
"""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from convscope.zoo.alexnet import alexnet_2012


@pytest.fixture(scope="module")
def network() -> Iterator[nn.Sequential]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield alexnet_2012(num_classes=10).eval()


def test_maps_are_those_of_the_paper() -> None:
    with torch.device("meta"):
        model, x = alexnet_2012().eval(), torch.empty(1, 3, 227, 227)
    sizes = {}
    for name, layer in model.named_children():
        x = layer(x)
        sizes[name] = tuple(x.shape[1:])
    assert sizes["conv1"] == (96, 55, 55)
    assert np.prod(sizes["conv1"]) == 290_400
    assert sum(p.numel() for p in model.get_submodule("conv1").parameters()) == 34_944
    assert [sizes[f"conv{i}"] for i in (2, 3, 4, 5)] == [(256, 27, 27), (384, 13, 13), (384, 13, 13), (256, 13, 13)]
    assert (sizes["pool1"], sizes["pool2"], sizes["pool5"]) == ((96, 27, 27), (256, 13, 13), (256, 6, 6))
    # Printed in the paper's text and figure: the neurons of the layers after the first
    assert [int(np.prod(sizes[f"conv{i}"])) for i in (2, 3, 4, 5)] == [186_624, 64_896, 64_896, 43_264]


def test_normalisation_is_the_formula_of_section_3_3(network: nn.Sequential) -> None:
    a = torch.randn(1, 96, 3, 2, generator=torch.Generator().manual_seed(1)) * 50
    values = a[0].double().numpy()
    expected = np.empty_like(values)
    for i in range(96):
        near = values[max(0, i - 2) : min(95, i + 2) + 1]
        expected[i] = values[i] / (2 + 1e-4 * (near**2).sum(0)) ** 0.75
    found = network.get_submodule("norm1")(a)[0].double()
    torch.testing.assert_close(found, torch.from_numpy(expected), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["conv2", "conv4", "conv5"])
def test_two_groups_do_not_see_each_other(network: nn.Sequential, name: str) -> None:
    conv = network.get_submodule(name)
    assert isinstance(conv, nn.Conv2d)
    x: Tensor = torch.zeros(1, conv.in_channels, 5, 5)
    before = conv(x)
    x[:, : conv.in_channels // 2] = 1
    changed = (conv(x) - before).abs().amax((0, 2, 3)) > 0
    assert changed[: conv.out_channels // 2].all()
    assert not changed[conv.out_channels // 2 :].any()


def test_initial_weights_are_those_of_section_5(network: nn.Sequential) -> None:
    layers = {n: m for n, m in network.named_children() if isinstance(m, (nn.Conv2d, nn.Linear))}
    biases = {n: m.bias for n, m in layers.items() if m.bias is not None}
    ones = [name for name, bias in biases.items() if (bias == 1).all()]
    zeros = [name for name, bias in biases.items() if (bias == 0).all()]
    assert (ones, zeros) == (["conv2", "conv4", "conv5", "fc6", "fc7"], ["conv1", "conv3", "fc8"])
    for layer in layers.values():
        assert layer.weight.std().item() == pytest.approx(0.01, rel=0.03)
