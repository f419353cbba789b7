"""The weights that `vgg11` starts with: its big linear layers are made empty, so all of them must be set afterwards.

Turns red: `start(self)` left out of `VGG`; `fan_out` → `fan_in` in `start`.
"""

import pytest
import torch
from torch import nn

from convscope.zoo.vgg import vgg11


def test_every_weight_of_vgg11_is_set() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = vgg11(num_classes=10)
    for layer in model.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            assert layer.bias is not None
            assert not layer.bias.any()
            deviation = 0.01 if isinstance(layer, nn.Linear) else (2 / (9 * layer.out_channels)) ** 0.5
            assert layer.weight.std().item() == pytest.approx(deviation, rel=0.05)
