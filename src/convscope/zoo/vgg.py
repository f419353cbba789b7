"""VGG: Simonyan and Zisserman 2015, "Very deep convolutional networks for large-scale image recognition".

    n × (conv 3×3 → ReLU) → max pool 2×2, five times (64, 128, 256, 512, 512 channels) → 4096 → 4096 → 1000

Two 3×3 convolutions see 5×5 pixels, three see 7×7, with fewer parameters and more nonlinearities. The number in a name
counts layers with weights; `_bn` adds batch norm after each convolution (Ioffe and Szegedy 2015). Names of torchvision.
Parameters and multiply-adds (one 224×224 image) below: torchvision 0.28; of 133 million and more, 124 lie in linear layers.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from convscope.zoo._parts import bare_linear, positive, start

CHANNELS = (64, 128, 256, 512, 512)
CONVOLUTIONS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}  # in each of five stages
INPUTS = {f"vgg{depth}{norm}": (3, 224, 224) for depth in CONVOLUTIONS for norm in ("", "_bn")}


class VGG(nn.Module):
    """Pooled to 7×7 positions before the linear layers, so that it takes any image from 32×32 up."""

    def __init__(self, depth: int, norm: bool, num_classes: int, in_channels: int, dropout: float) -> None:
        super().__init__()
        positive(num_classes=num_classes, in_channels=in_channels)
        layers: list[nn.Module] = []
        for (inputs, outputs), count in zip(pairwise((in_channels, *CHANNELS)), CONVOLUTIONS[depth], strict=True):
            for i in range(count):
                layers.append(nn.Conv2d(inputs if i == 0 else outputs, outputs, 3, padding=1))
                layers += [nn.BatchNorm2d(outputs)] if norm else []
                layers.append(nn.ReLU(inplace=True))
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(7)
        self.classifier = nn.Sequential(
            bare_linear(512 * 7 * 7, 4096), nn.ReLU(inplace=True), nn.Dropout(dropout),
            bare_linear(4096, 4096), nn.ReLU(inplace=True), nn.Dropout(dropout), bare_linear(4096, num_classes))
        start(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


def vgg11(*, num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5) -> VGG:
    """VGG-11 (column A): (B, 3, 224, 224) → (B, K). 132,863,336 parameters, 7.609·10⁹ multiply-adds.

    >>> with torch.device("meta"):
    ...     sum(p.numel() for p in vgg11().parameters())
    132863336
    """
    return VGG(11, False, num_classes, in_channels, dropout)


def vgg11_bn(*, num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5) -> VGG:
    """VGG-11 (column A) with batch norm: (B, 3, 224, 224) → (B, K). 132,868,840 parameters, 7.609·10⁹ multiply-adds.

    >>> with torch.device("meta"):
    ...     sum(p.numel() for p in vgg11_bn().parameters())
    132868840
    """
    return VGG(11, True, num_classes, in_channels, dropout)


def vgg13(*, num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5) -> VGG:
    """VGG-13 (column B): (B, 3, 224, 224) → (B, K). 133,047,848 parameters, 11.308·10⁹ multiply-adds.

    >>> with torch.device("meta"):
    ...     sum(p.numel() for p in vgg13().parameters())
    133047848
    """
    return VGG(13, False, num_classes, in_channels, dropout)


def vgg13_bn(*, num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5) -> VGG:
    """VGG-13 (column B) with batch norm: (B, 3, 224, 224) → (B, K). 133,053,736 parameters, 11.308·10⁹ multiply-adds.

    >>> with torch.device("meta"):
    ...     sum(p.numel() for p in vgg13_bn().parameters())
    133053736
    """
    return VGG(13, True, num_classes, in_channels, dropout)


def vgg16(*, num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5) -> VGG:
    """VGG-16 (column D): (B, 3, 224, 224) → (B, K). 138,357,544 parameters, 15.470·10⁹ multiply-adds.

    >>> with torch.device("meta"):
    ...     sum(p.numel() for p in vgg16().parameters())
    138357544
    """
    return VGG(16, False, num_classes, in_channels, dropout)


def vgg16_bn(*, num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5) -> VGG:
    """VGG-16 (column D) with batch norm: (B, 3, 224, 224) → (B, K). 138,365,992 parameters, 15.470·10⁹ multiply-adds.

    >>> with torch.device("meta"):
    ...     sum(p.numel() for p in vgg16_bn().parameters())
    138365992
    """
    return VGG(16, True, num_classes, in_channels, dropout)


def vgg19(*, num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5) -> VGG:
    """VGG-19 (column E): (B, 3, 224, 224) → (B, K). 143,667,240 parameters, 19.632·10⁹ multiply-adds.

    >>> with torch.device("meta"):
    ...     sum(p.numel() for p in vgg19().parameters())
    143667240
    """
    return VGG(19, False, num_classes, in_channels, dropout)


def vgg19_bn(*, num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5) -> VGG:
    """VGG-19 (column E) with batch norm: (B, 3, 224, 224) → (B, K). 143,678,248 parameters, 19.632·10⁹ multiply-adds.

    >>> with torch.device("meta"):
    ...     sum(p.numel() for p in vgg19_bn().parameters())
    143678248
    """
    return VGG(19, True, num_classes, in_channels, dropout)
