"""MobileNet v2: Sandler et al. 2018, "MobileNetV2: inverted residuals and linear bottlenecks". Names of torchvision.

    F(x) = 1×1 (depthwise 3×3 (1×1 (x)))        y = F(x), or x + F(x) where the sizes allow it

The first 1×1 makes `t` times as many channels, the depthwise convolution filters each by itself, the last 1×1 makes few of
them again, without a nonlinearity. Batch norm after each convolution, then min(6, max(0, ·)) except after the last.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convscope.errors import UsageError
from convscope.zoo._parts import positive, start

INPUTS = {"mobilenet_v2": (3, 224, 224)}
# Expansion t, channels c, number of blocks n, stride s of the first of them.
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


def _step(inputs: int, outputs: int, kernel_size: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel_size, stride, kernel_size // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU6(inplace=True))


def _eights(channels: float) -> int:
    """The nearest multiple of 8, but at least 8 and never less than 90 % of it."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * channels else nearest


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, t: int) -> None:
        super().__init__()
        self.shortcut = stride == 1 and inputs == outputs
        self.conv = nn.Sequential(
            *([_step(inputs, t * inputs, 1)] if t > 1 else []), _step(t * inputs, t * inputs, 3, stride, groups=t * inputs),
            nn.Conv2d(t * inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.shortcut else self.conv(x)


class MobileNetV2(nn.Module):
    """Takes any image; below 32×32 the last maps have one position."""

    def __init__(self, num_classes: int, in_channels: int, width_mult: float, dropout: float) -> None:
        super().__init__()
        positive(num_classes=num_classes, in_channels=in_channels)
        if not 0 < width_mult < 100:
            raise UsageError("width_mult must be above 0 and below 100", f"got {width_mult}", "published are 0.35 to 1.4")
        channels = _eights(32 * width_mult)
        layers: list[nn.Module] = [_step(in_channels, channels, 3, stride=2)]
        for t, c, n, s in STAGES:
            for i in range(n):
                outputs = _eights(c * width_mult)
                layers.append(_Block(channels, outputs, s if i == 0 else 1, t))
                channels = outputs
        last = _eights(1280 * max(1.0, width_mult))
        self.features = nn.Sequential(*layers, _step(channels, last, 1))
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(last, num_classes))
        start(self)

    def forward(self, x: Tensor) -> Tensor:
        x = F.adaptive_avg_pool2d(self.features(x), (1, 1))
        return self.classifier(torch.flatten(x, 1))


def mobilenet_v2(*, num_classes: int = 1000, in_channels: int = 3, width_mult: float = 1.0,
                 dropout: float = 0.2) -> MobileNetV2:
    """MobileNet v2, torchvision's: (B, 3, 224, 224) → (B, K) scores. `width_mult`: all channels times this number.

    3,504,872 parameters, 0.301·10⁹ multiply-adds (torchvision 0.28); with 1.4 channels 6.1 million and 0.582·10⁹.

    >>> sum(p.numel() for p in mobilenet_v2().parameters())
    3504872
    """
    return MobileNetV2(num_classes, in_channels, width_mult, dropout)
