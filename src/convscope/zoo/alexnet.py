"""AlexNet, as of 2012 and as it is used today.

    max(0, conv 11×11 / 4) → pool → 5×5 → pool → 3×3 → 3×3 → 3×3 → pool → 4096 → 4096 → 1000

- `alexnet_2012`: Krizhevsky, Sutskever and Hinton 2012, "ImageNet classification with deep convolutional neural networks".
  Two graphics cards held half of the channels each, so convolutions 2, 4 and 5 have two groups; the first two are followed
  by local response normalisation. Printed was 224×224; only 227×227 gives the 55×55 positions of the paper.
- `alexnet`: Krizhevsky 2014, "One weird trick for parallelizing convolutional neural networks": one card, 64 first filters,
  no normalisation. Layout and names of torchvision.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from convscope.zoo._parts import bare_linear, positive

INPUTS = {"alexnet": (3, 224, 224), "alexnet_2012": (3, 227, 227)}


class AlexNet(nn.Module):
    """The network of 2014. Pooled to 6×6 positions before the linear layers, so that it takes any image from 63×63 up."""

    def __init__(self, num_classes: int, in_channels: int, dropout: float) -> None:
        super().__init__()
        positive(num_classes=num_classes, in_channels=in_channels)
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, 64, 11, stride=4, padding=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2),
            nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2),
            nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(inplace=True),
            nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(inplace=True),
            nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2))
        self.avgpool = nn.AdaptiveAvgPool2d(6)
        self.classifier = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(256 * 6 * 6, 4096), nn.ReLU(inplace=True),
            nn.Dropout(dropout), nn.Linear(4096, 4096), nn.ReLU(inplace=True), nn.Linear(4096, num_classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


def alexnet(*, num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5) -> AlexNet:
    """AlexNet of 2014, torchvision's: (B, 3, 224, 224) → (B, K) scores.

    61,100,840 parameters, 0.714·10⁹ multiply-adds (torchvision 0.28).

    >>> with torch.device("meta"):
    ...     sum(p.numel() for p in alexnet().parameters())
    61100840
    """
    return AlexNet(num_classes, in_channels, dropout)


def alexnet_2012(*, num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5) -> nn.Sequential:
    """AlexNet as published in 2012: (B, 3, 227, 227) → (B, K) scores. The linear layers fix the image size.

    60,965,224 parameters (the paper: 60 million), 724,406,816 multiply-adds (Sze et al. 2017, "Efficient processing of deep
    neural networks", table II: 724 million). First layer: 55×55×96 outputs, 34,944 parameters shared by all positions.
    Normalisation: b = a / (2 + 10⁻⁴ · Σ a²)^0.75 over 5 neighbouring channels; torch divides its `alpha` by 5, hence 5·10⁻⁴.
    Initial weights as in the paper: deviation 0.01; biases 1 where it says so.

    >>> with torch.device("meta"):
    ...     sum(p.numel() for p in alexnet_2012().parameters())
    60965224
    """
    positive(num_classes=num_classes, in_channels=in_channels)
    model = nn.Sequential(OrderedDict(
        conv1=nn.Conv2d(in_channels, 96, 11, stride=4), relu1=nn.ReLU(inplace=True),
        norm1=nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2), pool1=nn.MaxPool2d(3, 2),
        conv2=nn.Conv2d(96, 256, 5, padding=2, groups=2), relu2=nn.ReLU(inplace=True),
        norm2=nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2), pool2=nn.MaxPool2d(3, 2),
        conv3=nn.Conv2d(256, 384, 3, padding=1), relu3=nn.ReLU(inplace=True),
        conv4=nn.Conv2d(384, 384, 3, padding=1, groups=2), relu4=nn.ReLU(inplace=True),
        conv5=nn.Conv2d(384, 256, 3, padding=1, groups=2), relu5=nn.ReLU(inplace=True), pool5=nn.MaxPool2d(3, 2),
        flatten=nn.Flatten(),
        fc6=bare_linear(256 * 6 * 6, 4096), relu6=nn.ReLU(inplace=True), drop6=nn.Dropout(dropout),
        fc7=bare_linear(4096, 4096), relu7=nn.ReLU(inplace=True), drop7=nn.Dropout(dropout),
        fc8=bare_linear(4096, num_classes)))
    for name, module in model.named_children():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.normal_(module.weight, 0, 0.01)
            assert module.bias is not None
            nn.init.constant_(module.bias, float(name in ("conv2", "conv4", "conv5", "fc6", "fc7")))
    return model
