"""Inception v3: Szegedy et al. 2016, "Rethinking the inception architecture for computer vision". Names of torchvision.

    299×299 → stem → 3 × A (35×35) → B → 4 × C (17×17) → D → 2 × E (8×8) → mean → linear

Large kernels are taken apart: 5×5 into two 3×3, n×n into 1×n and n×1. B and D halve the map, by strided convolutions next to
a max pooling. Training may use one more head on the 17×17 maps; nothing of it is used afterwards.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convscope.errors import UsageError
from convscope.zoo._inception_v3 import A, B, C, D, E
from convscope.zoo._parts import ConvNormReLU, Published, positive, signed, start

INPUTS = {"inception_v3": (3, 299, 299)}


class InceptionOutputs(NamedTuple):
    """What training with `aux_logits` gives: scores (B, K) of the end and of the head on the 17×17 maps."""

    logits: Tensor
    aux_logits: Tensor


class _Head(nn.Module):
    def __init__(self, inputs: int, num_classes: int) -> None:
        super().__init__()
        self.conv0, self.conv1 = ConvNormReLU(inputs, 128, 1), ConvNormReLU(128, 768, 5)
        self.fc = nn.Linear(768, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(self.conv0(F.avg_pool2d(x, 5, stride=3)))
        return self.fc(torch.flatten(F.adaptive_avg_pool2d(x, (1, 1)), 1))


class Inception3(Published):
    """Takes any image from 75×75 up. Without `aux_logits` it leaves the weights of that head out when it loads a file."""

    def __init__(self, num_classes: int, in_channels: int, aux_logits: bool, transform_input: bool, dropout: float) -> None:
        super().__init__()
        positive(num_classes=num_classes, in_channels=in_channels)
        if transform_input and in_channels != 3:
            raise UsageError("transform_input is for three channels", f"got in_channels={in_channels}", "leave it out")
        self.aux_logits, self.transform_input = aux_logits, transform_input
        self.Conv2d_1a_3x3 = ConvNormReLU(in_channels, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = ConvNormReLU(32, 32, 3)
        self.Conv2d_2b_3x3 = ConvNormReLU(32, 64, 3, padding=1)
        self.maxpool1 = nn.MaxPool2d(3, 2)
        self.Conv2d_3b_1x1 = ConvNormReLU(64, 80, 1)
        self.Conv2d_4a_3x3 = ConvNormReLU(80, 192, 3)
        self.maxpool2 = nn.MaxPool2d(3, 2)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = A(192, 32), A(256, 64), A(288, 64)
        self.Mixed_6a = B(288)
        self.Mixed_6b, self.Mixed_6c, self.Mixed_6d, self.Mixed_6e = C(768, 128), C(768, 160), C(768, 160), C(768, 192)
        if aux_logits:
            self.AuxLogits = _Head(768, num_classes)
        self.Mixed_7a = D(768)
        self.Mixed_7b, self.Mixed_7c = E(1280), E(2048)
        self.avgpool, self.dropout, self.fc = nn.AdaptiveAvgPool2d(1), nn.Dropout(dropout), nn.Linear(2048, num_classes)
        start(self)

    def published_name(self, name: str) -> str | None:
        return None if name.startswith("AuxLogits.") and not self.aux_logits else name

    def forward(self, x: Tensor) -> Tensor | InceptionOutputs:
        x = signed(x) if self.transform_input else x
        x = self.maxpool1(self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x))))
        x = self.maxpool2(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x)))
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x)))
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))))
        aux = self.AuxLogits(x) if self.aux_logits and self.training else None
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))
        x = self.fc(torch.flatten(self.dropout(self.avgpool(x)), 1))
        return x if aux is None else InceptionOutputs(x, aux)


def inception_v3(*, num_classes: int = 1000, in_channels: int = 3, aux_logits: bool = False, transform_input: bool = False,
                 dropout: float = 0.5) -> Inception3:
    """Inception v3, torchvision's: (B, 3, 299, 299) → (B, K) scores.

    23,834,568 parameters (the paper: less than 25 million), 27,161,264 with `aux_logits` (torchvision 0.28); 5.713·10⁹
    multiply-adds. `aux_logits`: in train mode return two scores (`InceptionOutputs`). `transform_input`: turn ImageNet's
    mean and deviation into −1 … 1 first, which the published weights need. Initial weights as in He et al. 2015.

    >>> with torch.device("meta"):
    ...     sum(p.numel() for p in inception_v3().parameters())
    23834568
    """
    return Inception3(num_classes, in_channels, aux_logits, transform_input, dropout)
