"""GoogLeNet (Inception v1): Szegedy et al. 2015, "Going deeper with convolutions". Layout and names of torchvision.

    block(x) = [conv 1×1 ; 1×1 → 3×3 ; 1×1 → "5×5" ; max pool 3×3 → 1×1]        joined along the channels

Differences from the paper, which the published weights share: batch norm after each convolution and no local response
normalisation; the third branch, 5×5 in the paper, has 3×3 kernels. So it costs 1.498·10⁹ multiply-adds, and its receptive
fields are smaller than published ones. Training may use two more heads, halfway up; nothing of them is used afterwards.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convscope.errors import UsageError
from convscope.zoo._parts import ConvNormReLU, Published, positive, signed, start

INPUTS = {"googlenet": (3, 224, 224)}


class GoogLeNetOutputs(NamedTuple):
    """What training with `aux_logits` gives: scores (B, K) of the end and of the heads after 4d and 4a."""

    logits: Tensor
    aux_logits2: Tensor
    aux_logits1: Tensor


class _Block(nn.Module):
    """Four branches. `c1`: 1×1; `c3`, `c5`: channels before and after the 3×3 kernels; `pooled`: after pooling."""

    def __init__(self, inputs: int, c1: int, c3: tuple[int, int], c5: tuple[int, int], pooled: int) -> None:
        super().__init__()
        self.branch1 = ConvNormReLU(inputs, c1, 1)
        self.branch2 = nn.Sequential(ConvNormReLU(inputs, c3[0], 1), ConvNormReLU(*c3, 3, padding=1))
        self.branch3 = nn.Sequential(ConvNormReLU(inputs, c5[0], 1), ConvNormReLU(*c5, 3, padding=1))
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, padding=1, ceil_mode=True), ConvNormReLU(inputs, pooled, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


class _Head(nn.Module):
    def __init__(self, inputs: int, num_classes: int) -> None:
        super().__init__()
        self.conv = ConvNormReLU(inputs, 128, 1)
        self.fc1, self.dropout, self.fc2 = nn.Linear(2048, 1024), nn.Dropout(0.7), nn.Linear(1024, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.flatten(self.conv(F.adaptive_avg_pool2d(x, (4, 4))), 1)
        return self.fc2(self.dropout(F.relu(self.fc1(x), inplace=True)))


class GoogLeNet(Published):
    """Takes any image from 15×15 up. Without `aux_logits` it leaves the weights of those heads out when it loads a file."""

    def __init__(self, num_classes: int, in_channels: int, aux_logits: bool, transform_input: bool, dropout: float) -> None:
        super().__init__()
        positive(num_classes=num_classes, in_channels=in_channels)
        if transform_input and in_channels != 3:
            raise UsageError("transform_input is for three channels", f"got in_channels={in_channels}", "leave it out")
        self.aux_logits, self.transform_input = aux_logits, transform_input
        self.conv1 = ConvNormReLU(in_channels, 64, 7, stride=2, padding=3)
        self.maxpool1 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv2, self.conv3 = ConvNormReLU(64, 64, 1), ConvNormReLU(64, 192, 3, padding=1)
        self.maxpool2 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.inception3a = _Block(192, 64, (96, 128), (16, 32), 32)
        self.inception3b = _Block(256, 128, (128, 192), (32, 96), 64)
        self.maxpool3 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.inception4a = _Block(480, 192, (96, 208), (16, 48), 64)
        self.inception4b = _Block(512, 160, (112, 224), (24, 64), 64)
        self.inception4c = _Block(512, 128, (128, 256), (24, 64), 64)
        self.inception4d = _Block(512, 112, (144, 288), (32, 64), 64)
        self.inception4e = _Block(528, 256, (160, 320), (32, 128), 128)
        self.maxpool4 = nn.MaxPool2d(2, 2, ceil_mode=True)
        self.inception5a = _Block(832, 256, (160, 320), (32, 128), 128)
        self.inception5b = _Block(832, 384, (192, 384), (48, 128), 128)
        if aux_logits:
            self.aux1, self.aux2 = _Head(512, num_classes), _Head(528, num_classes)
        self.avgpool, self.dropout, self.fc = nn.AdaptiveAvgPool2d(1), nn.Dropout(dropout), nn.Linear(1024, num_classes)
        start(self)

    def published_name(self, name: str) -> str | None:
        return None if name.startswith(("aux1.", "aux2.")) and not self.aux_logits else name

    def forward(self, x: Tensor) -> Tensor | GoogLeNetOutputs:
        heads = self.aux_logits and self.training
        x = signed(x) if self.transform_input else x
        x = self.maxpool2(self.conv3(self.conv2(self.maxpool1(self.conv1(x)))))
        x = self.maxpool3(self.inception3b(self.inception3a(x)))
        x = self.inception4a(x)
        aux1 = self.aux1(x) if heads else None
        x = self.inception4d(self.inception4c(self.inception4b(x)))
        aux2 = self.aux2(x) if heads else None
        x = self.inception5b(self.inception5a(self.maxpool4(self.inception4e(x))))
        x = self.fc(self.dropout(torch.flatten(self.avgpool(x), 1)))
        return GoogLeNetOutputs(x, aux2, aux1) if aux1 is not None and aux2 is not None else x


def googlenet(*, num_classes: int = 1000, in_channels: int = 3, aux_logits: bool = False, transform_input: bool = False,
              dropout: float = 0.2) -> GoogLeNet:
    """GoogLeNet, torchvision's: (B, 3, 224, 224) → (B, K) scores.

    6,624,904 parameters (torchvision 0.28), 13,004,888 with `aux_logits`; 1.498·10⁹ multiply-adds. `aux_logits`: in train
    mode return three scores (`GoogLeNetOutputs`). `transform_input`: turn ImageNet's mean and deviation into −1 … 1 first,
    which the published weights need. Initial weights as in He et al. 2015: with the usual deviation of 0.01 an untrained
    network in eval mode gives the same scores for all images.

    >>> with torch.device("meta"):
    ...     sum(p.numel() for p in googlenet().parameters())
    6624904
    """
    return GoogLeNet(num_classes, in_channels, aux_logits, transform_input, dropout)
