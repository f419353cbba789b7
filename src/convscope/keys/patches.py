"""Two small classifiers for the report: one whose filters can carry a key exactly, and one whose cannot.

    patch_net      conv k×k, stride k → GELU → conv 1×1 → GELU → dense → GELU → dense    windows are the blocks
    overlap_net    conv 3×3 → GELU → conv 3×3, stride 2 → GELU → dense → GELU → dense    windows cut through the blocks

A patch embedding as in Dosovitskiy et al. 2021, "An image is worth 16x16 words".
Weights are drawn from `seed`; torch's generator stays as it was. References: `convscope.keys.patches:patch_net(block=4)`.
"""

from __future__ import annotations

import torch
from torch import nn


def patch_net(channels: int = 1, size: int | tuple[int, int] = 8, block: int = 4, classes: int = 10, width: int = 32,
              seed: int = 0) -> nn.Module:
    """A patch-embedding network: the first layer's windows are the key's blocks.

    >>> patch_net()(torch.zeros(2, 1, 8, 8)).shape
    torch.Size([2, 10])
    """
    height, wide = (size, size) if isinstance(size, int) else size
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(channels, width, block, stride=block), nn.GELU(), nn.Conv2d(width, width, 1), nn.GELU(), nn.Flatten(),
            nn.Linear(width * (height // block) * (wide // block), 64), nn.GELU(), nn.Linear(64, classes))


def overlap_net(channels: int = 1, size: int | tuple[int, int] = 8, classes: int = 10, width: int = 32,
                seed: int = 0) -> nn.Module:
    """An ordinary convolutional network with overlapping windows; nothing exact carries a key into it.

    >>> overlap_net()(torch.zeros(2, 1, 8, 8)).shape
    torch.Size([2, 10])
    """
    height, wide = (size, size) if isinstance(size, int) else size
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(channels, width // 2, 3, padding=1), nn.GELU(), nn.Conv2d(width // 2, width, 3, stride=2, padding=1),
            nn.GELU(), nn.Flatten(), nn.Linear(width * -(-height // 2) * -(-wide // 2), 64), nn.GELU(),
            nn.Linear(64, classes))
