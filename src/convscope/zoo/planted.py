"""The network for the planted-evidence set (`convscope.planted`): the demo's, half as wide, on larger images.

    1×32×32 → conv 3×3, 8 → conv 3×3, 16 → max pool 2×2 → conv 3×3, 32 → mean over 16×16 positions → linear, 4

Each convolution is followed by batch norm and ReLU. A position of the last maps sees 10×10 pixels: a planted patch of 8×8
and a rim of one. The mean over positions makes the answer independent of where the patch lies, but for the border.
"""

from __future__ import annotations

from torch import nn

from convscope.zoo.digits import digits

INPUTS = {"planted": (1, 32, 32)}


def planted(*, num_classes: int = 4, in_channels: int = 1, width: int = 8) -> nn.Sequential:
    """Small network for images whose class is decided by a small patch alone: (B, 1, 32, 32), 0 … 1 → (B, K) scores.

    6,076 parameters: kernels 9·(1·8 + 8·16 + 16·32) = 5,832, scales and shifts 2·(8 + 16 + 32) = 112, linear 32·4 + 4 = 132.
    Multiply-adds: 9·(1024·8 + 1024·8·16 + 256·16·32) + 128 = 2,433,152.

    >>> sum(p.numel() for p in planted().parameters())
    6076
    """
    return digits(num_classes=num_classes, in_channels=in_channels, width=width)
