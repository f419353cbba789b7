"""The perceptron: one linear layer on the pixels.

    y[k] = Σ_i W[k, i] · x[i] + b[k]        (Rosenblatt 1958, "The perceptron"; several outputs, no threshold)
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from convscope.zoo._parts import positive

INPUTS = {"perceptron": (1, 8, 8)}


def perceptron(*, inputs: int = 64, num_classes: int = 10) -> nn.Sequential:
    """One linear layer on all pixels: (B, C, H, W) with C·H·W = `inputs` → (B, K) scores.

    inputs · K + K parameters, inputs · K multiply-adds. Each class has one template, so nothing of it survives a shift.
    The expected image size is 8×8; for another give `inputs` and, when opening it, the input size.

    >>> sum(p.numel() for p in perceptron().parameters())
    650
    """
    positive(inputs=inputs, num_classes=num_classes)
    return nn.Sequential(OrderedDict(flatten=nn.Flatten(), fc=nn.Linear(inputs, num_classes)))
