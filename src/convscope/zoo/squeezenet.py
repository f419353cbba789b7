"""SqueezeNet: Iandola et al. 2016, "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters". Names of torchvision.

    fire(x) = [max(0, 1×1 * s) ; max(0, 3×3 * s)]        s = max(0, 1×1 * x), few channels

There is no linear layer: the last convolution has one map a class, a class's score is the mean over that map, after ReLU.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from convscope.zoo._parts import positive

INPUTS = {"squeezenet1_0": (3, 224, 224), "squeezenet1_1": (3, 224, 224)}
# Channels squeezed to, and expanded to by each kind of kernel.
FIRE = ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))


class _Fire(nn.Module):
    def __init__(self, inputs: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze, self.squeeze_activation = nn.Conv2d(inputs, squeezed, 1), nn.ReLU(inplace=True)
        self.expand1x1, self.expand1x1_activation = nn.Conv2d(squeezed, expanded, 1), nn.ReLU(inplace=True)
        self.expand3x3, self.expand3x3_activation = nn.Conv2d(squeezed, expanded, 3, padding=1), nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.squeeze_activation(self.squeeze(x))
        return torch.cat([self.expand1x1_activation(self.expand1x1(x)), self.expand3x3_activation(self.expand3x3(x))], 1)


class SqueezeNet(nn.Module):
    """`first`: the first convolution. `pooled`: after how many fire modules the map is halved, by 3×3 / 2 pooling."""

    def __init__(self, first: nn.Conv2d, pooled: tuple[int, ...], num_classes: int, dropout: float) -> None:
        super().__init__()
        positive(num_classes=num_classes)
        layers: list[nn.Module] = [first, nn.ReLU(inplace=True)]
        channels = first.out_channels
        for i, (squeezed, expanded) in enumerate(FIRE):
            if i in pooled:
                layers.append(nn.MaxPool2d(3, 2, ceil_mode=True))
            layers.append(_Fire(channels, squeezed, expanded))
            channels = 2 * expanded
        self.features = nn.Sequential(*layers)
        last = nn.Conv2d(channels, num_classes, 1)
        self.classifier = nn.Sequential(nn.Dropout(dropout), last, nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight)
                assert module.bias is not None
                nn.init.zeros_(module.bias)
        nn.init.normal_(last.weight, 0, 0.01)

    def forward(self, x: Tensor) -> Tensor:
        return torch.flatten(self.classifier(self.features(x)), 1)


def squeezenet1_0(*, num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5) -> SqueezeNet:
    """SqueezeNet as published, torchvision's: (B, 3, 224, 224) → (B, K) scores; any image from 21×21 up.

    1,248,424 parameters, 0.819·10⁹ multiply-adds (torchvision 0.28).

    >>> sum(p.numel() for p in squeezenet1_0().parameters())
    1248424
    """
    positive(in_channels=in_channels)
    return SqueezeNet(nn.Conv2d(in_channels, 96, 7, stride=2), (0, 3, 7), num_classes, dropout)


def squeezenet1_1(*, num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5) -> SqueezeNet:
    """SqueezeNet 1.1: 3×3 for 7×7 at the entrance and earlier pooling. (B, 3, 224, 224) → (B, K); any image from 17×17 up.

    1,235,496 parameters, 0.349·10⁹ multiply-adds (torchvision 0.28).

    >>> sum(p.numel() for p in squeezenet1_1().parameters())
    1235496
    """
    positive(in_channels=in_channels)
    return SqueezeNet(nn.Conv2d(in_channels, 64, 3, stride=2), (0, 2, 4), num_classes, dropout)
