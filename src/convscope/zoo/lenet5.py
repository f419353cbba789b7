"""LeNet-5: LeCun, Bottou, Bengio and Haffner 1998, "Gradient-based learning applied to document recognition".

    1×28×28 → conv 5×5, 6 → pool 2 → conv 5×5, 16 → pool 2 → linear 120 → linear 84 → linear 10

This is the form in use today, on 28×28 pixels: ReLU for scaled tanh, max pooling for trainable averages, every map of the
second convolution reads all six before it (in 1998 a chosen few), a linear layer instead of distances to drawn templates.
The first convolution pads by 2, which stands for the frame that made 32×32 pixels of each digit in 1998.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from convscope.zoo._parts import positive

INPUTS = {"lenet5": (1, 28, 28)}


def lenet5(*, num_classes: int = 10, in_channels: int = 1) -> nn.Sequential:
    """LeNet-5 in today's form, for handwritten digits: (B, 1, 28, 28) → (B, K) scores.

    61,706 parameters, 416,520 multiply-adds (1998: 60,000 parameters, since the second convolution was sparse).
    78 % of them lie in the first linear layer, which also fixes the image size.

    >>> sum(p.numel() for p in lenet5().parameters())
    61706
    """
    positive(num_classes=num_classes, in_channels=in_channels)
    return nn.Sequential(OrderedDict(
        conv1=nn.Conv2d(in_channels, 6, 5, padding=2), relu1=nn.ReLU(), pool1=nn.MaxPool2d(2),
        conv2=nn.Conv2d(6, 16, 5), relu2=nn.ReLU(), pool2=nn.MaxPool2d(2),
        flatten=nn.Flatten(), fc1=nn.Linear(400, 120), relu3=nn.ReLU(),
        fc2=nn.Linear(120, 84), relu4=nn.ReLU(), fc3=nn.Linear(84, num_classes)))
