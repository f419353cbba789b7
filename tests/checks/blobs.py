"""Data whose near inputs have like labels: points around corners, and targets that are smooth in the inputs."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def blobs(n: int = 300, classes: int = 3, seed: int = 0, spread: float = 0.6) -> tuple[Tensor, Tensor]:
    """Points in 8 dimensions around one corner a class, and the class."""
    generator = torch.Generator().manual_seed(seed)
    corners = 2 * torch.randn(classes, 8, generator=torch.Generator().manual_seed(99))
    y = torch.randint(0, classes, (n,), generator=generator)
    return corners[y] + spread * torch.randn(n, 8, generator=generator), y


def slope(n: int = 300, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Points in 4 dimensions, and a target (n, 1) of mean 0 and standard deviation near 1."""
    x = torch.randn(n, 4, generator=torch.Generator().manual_seed(seed))
    return x, (x[:, :1] - 0.5 * x[:, 1:2].square() + 0.5) * 0.8


def line(seed: int = 0, inward: int = 4) -> nn.Sequential:
    """`inward` numbers → 32 ReLU units → one number."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(inward, 32), nn.ReLU(), nn.Linear(32, 1))
