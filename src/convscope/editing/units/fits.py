"""What joins two sizes: a 1×1 convolution from C to C′ channels, pooling from h×w to h′×w′."""

from __future__ import annotations

import torch
from torch import nn


def times(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))


def joiner(inputs: int, outputs: int, flat: bool = False) -> nn.Module:
    """A 1×1 convolution (dense layer) that starts as the identity as far as it goes: output i reads input i mod n."""
    made = nn.Linear(inputs, outputs, bias=False) if flat else nn.Conv2d(inputs, outputs, 1, bias=False)
    with torch.no_grad():
        made.weight.zero_()
        rows = torch.arange(outputs)
        made.weight[rows, rows % inputs] = 1.0
    return made


def fitting(size: tuple[int, ...], wanted: tuple[int, ...]) -> nn.Module:
    """What brings a map to another size: windows where it divides, adaptive ones where not, repetition where it grows."""
    if any(n < m for n, m in zip(size, wanted, strict=True)):
        return nn.Upsample(size=wanted)
    if all(n % m == 0 for n, m in zip(size, wanted, strict=True)):
        return nn.AvgPool2d(tuple(n // m for n, m in zip(size, wanted, strict=True)))  # type: ignore[arg-type]
    return nn.AdaptiveAvgPool2d(wanted)  # type: ignore[arg-type]
