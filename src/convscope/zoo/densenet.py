"""DenseNet: Huang, Liu, van der Maaten and Weinberger 2017, "Densely connected convolutional networks".

    x_l = H_l([x₀ ; x₁ ; … ; x_{l−1}])        H: batch norm → ReLU → 1×1 → batch norm → ReLU → 3×3, 32 new channels

Each layer of a block reads all maps before it, joined along the channels. Batch norm comes before the convolution: a map is
normalised anew by each of its readers, which cannot be folded into the convolution that made it. Names of torchvision.
"""

from __future__ import annotations

import re
from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convscope.zoo._parts import Published, positive

INPUTS = {"densenet121": (3, 224, 224)}


class _Layer(nn.Module):
    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.norm1, self.relu1 = nn.BatchNorm2d(inputs), nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(inputs, 4 * growth, 1, bias=False)
        self.norm2, self.relu2 = nn.BatchNorm2d(4 * growth), nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(self.relu1(self.norm1(x)))
        return self.conv2(self.relu2(self.norm2(x)))


class _Block(nn.Module):
    def __init__(self, inputs: int, count: int, growth: int) -> None:
        super().__init__()
        for i in range(count):
            self.add_module(f"denselayer{i + 1}", _Layer(inputs + i * growth, growth))

    def forward(self, x: Tensor) -> Tensor:
        maps = [x]
        for layer in self.children():
            maps.append(layer(torch.cat(maps, 1)))
        return torch.cat(maps, 1)


class DenseNet(Published):
    """Four dense blocks; between two of them half of the channels and half of the size. Takes any image from 29×29 up."""

    def __init__(self, counts: tuple[int, ...], growth: int, num_classes: int, in_channels: int) -> None:
        super().__init__()
        positive(num_classes=num_classes, in_channels=in_channels)
        channels = 2 * growth
        self.features = nn.Sequential(OrderedDict(
            conv0=nn.Conv2d(in_channels, channels, 7, 2, 3, bias=False), norm0=nn.BatchNorm2d(channels),
            relu0=nn.ReLU(inplace=True), pool0=nn.MaxPool2d(3, 2, 1)))
        for i, count in enumerate(counts, start=1):
            self.features.add_module(f"denseblock{i}", _Block(channels, count, growth))
            channels += count * growth
            if i < len(counts):
                self.features.add_module(f"transition{i}", nn.Sequential(OrderedDict(
                    norm=nn.BatchNorm2d(channels), relu=nn.ReLU(inplace=True),
                    conv=nn.Conv2d(channels, channels // 2, 1, bias=False), pool=nn.AvgPool2d(2))))
                channels //= 2
        self.features.add_module(f"norm{len(counts) + 1}", nn.BatchNorm2d(channels))
        self.classifier = nn.Linear(channels, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
        nn.init.zeros_(self.classifier.bias)

    def published_name(self, name: str) -> str | None:
        """Published files say `norm.1` where `norm1` is meant, from a time when a module's name could hold a dot."""
        return re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2.", name)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.features(x), inplace=True)
        return self.classifier(torch.flatten(F.adaptive_avg_pool2d(x, (1, 1)), 1))


def densenet121(*, num_classes: int = 1000, in_channels: int = 3) -> DenseNet:
    """DenseNet-121, torchvision's: (B, 3, 224, 224) → (B, K) scores.

    7,978,856 parameters, 2.834·10⁹ multiply-adds (torchvision 0.28).

    >>> sum(p.numel() for p in densenet121().parameters())
    7978856
    """
    return DenseNet((6, 12, 24, 16), 32, num_classes, in_channels)
