"""The network of `demo:faces`: reads 25×25 grey pixels and never pads, so that all windows of a photograph share their maps.

    1×25×25 → conv 4×4, 12 → max pool 2×2 → conv 4×4, 24 → max pool 2×2 → linear on 24×4×4, 2

Batch norm (Ioffe and Szegedy 2015) and ReLU after each convolution, dropout before the linear layer. The shape is that of
early face detectors that read windows of a picture (Garcia and Delakis 2004, "Convolutional face finder"); the sizes are
our own.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from convscope.zoo._parts import positive

INPUTS = {"faces": (1, 25, 25)}


def faces(*, num_classes: int = 2, in_channels: int = 1, width: int = 12) -> nn.Sequential:
    """Small network for scikit-image's 25×25 patches with and without a face: (B, 1, 25, 25), 0 … 1 → (B, K) scores.

    5,678 parameters: kernels 16·(1·12 + 12·24) = 4,800, biases 12 + 24, scales and shifts 2·(12 + 24) = 72, linear
    384·2 + 2 = 770. Multiply-adds: 16·(22²·1·12 + 8²·12·24) + 384·2 = 388,608. `width`: channels of the first layer.

    >>> sum(p.numel() for p in faces().parameters())
    5678
    """
    positive(num_classes=num_classes, in_channels=in_channels, width=width)
    return nn.Sequential(OrderedDict(
        conv1=nn.Conv2d(in_channels, width, 4), bn1=nn.BatchNorm2d(width), relu1=nn.ReLU(), pool1=nn.MaxPool2d(2),
        conv2=nn.Conv2d(width, 2 * width, 4), bn2=nn.BatchNorm2d(2 * width), relu2=nn.ReLU(), pool2=nn.MaxPool2d(2),
        flatten=nn.Flatten(), dropout=nn.Dropout(), fc=nn.Linear(2 * width * 16, num_classes)))
