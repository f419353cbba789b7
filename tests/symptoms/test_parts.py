"""The layers of a module and of an opened network: names, families, widths.

Turns red: leave `groups` out of `parts._widths`, or exchange inputs and outputs of a dense layer.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

from convscope.errors import UsageError
from convscope.network import Network
from convscope.symptoms.parts import Part, family_of, parts_of
from tests.nets import NETS
from tests.symptoms.provoked import LeNet
from tests.traces import unchanged

LAYERS = {
    "conv": (nn.Conv2d(4, 6, 3, groups=2), "convolution", 4, 6),
    "transposed": (nn.ConvTranspose2d(4, 6, 2, groups=2), "convolution", 4, 6),
    "dense": (nn.Linear(5, 7), "dense", 5, 7),
    "norm": (nn.BatchNorm2d(9), "norm", 9, 9),
    "plain_norm": (nn.BatchNorm2d(9, affine=False), "norm", None, None),
    "words": (nn.Embedding(10, 3), "embedding", 10, 3),
    "lstm": (nn.LSTM(8, 2), "recurrent", 8, 2),
    "pool": (nn.MaxPool2d(2), "pool", None, None),
    "relu": (nn.ReLU(), "other", None, None),
}


def test_a_module_is_read_as_it_stands() -> None:
    net = nn.ModuleDict({name: layer for name, (layer, *_) in LAYERS.items()})
    with unchanged(net):
        found = parts_of(net)
    assert [(p.name, p.family, p.inputs, p.outputs) for p in found] == [
        (name, family, inputs, outputs) for name, (_, family, inputs, outputs) in LAYERS.items()
    ]


def test_a_lazy_layer_has_no_width_yet() -> None:
    assert parts_of(nn.LazyLinear(4)) == (Part("LazyLinear", "dense"),)


def test_an_opened_network_says_the_same_of_its_layers() -> None:
    module = LeNet().eval()
    opened = {p.name: (p.family, p.inputs, p.outputs) for p in parts_of(Network.open(module, torch.rand(1, 3, 32, 32)))}
    for part in parts_of(module):
        assert opened[part.name] == (part.family, part.inputs, part.outputs)


@pytest.mark.parametrize("name", ["grouped", "residual", "concat", "shared"])
def test_any_network_is_read(name: str) -> None:
    model, x = NETS[name]() if name in NETS else NETS["plain"]()
    parts = parts_of(Network.open(model, x[:1]))
    assert parts
    assert all(isinstance(p, Part) and p.name for p in parts)
    assert any(p.family == "convolution" and p.inputs for p in parts)


def test_families_and_errors() -> None:
    assert [family_of(k) for k in ("Conv2d", "BatchNorm1d", "AdaptiveAvgPool2d", "GRU", "Dense", "Softmax")] == [
        "convolution", "norm", "pool", "recurrent", "dense", "other"]  # fmt: skip
    with pytest.raises(UsageError, match="int is no network; neither a Network nor a torch module; give the module itself"):
        parts_of(3)
