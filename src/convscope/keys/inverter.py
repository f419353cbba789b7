"""A network from maps back to images, trained on pairs: what is learned from (keyed, plain) or (features, plain).

    z = M·(Φ − mean)/std;  image = A·z + up(conv(relu(conv(relu(conv(z))))))     loss = mean (image − rebuilt)²; Adam

Φ: maps (F, h, w) or vectors (F, 1, 1). A: a 1×1 convolution to C·s² channels that are spread over s×s pixels (Shi et al.
2016, "Real-time single image and video super-resolution using an efficient sub-pixel convolutional network"), so that a
block-wise linear key is undone exactly by A alone; M: a learned (T, T) matrix over positions, so that shuffled blocks can
find home.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from convscope.errors import UsageError

MOVED = 256  # positions: for more, the matrix over positions is left out
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Effort:
    """How hard is it tried? Steps of `batch` pairs at most at `rate`, `width` channels."""

    steps: int = 800
    batch: int = 64
    rate: float = 0.004
    width: int = 64


class Inverter(nn.Module):
    """Φ (B, F, h, w) → images (B, C, H, W), not bounded to 0 … 1."""

    mean: Tensor
    std: Tensor

    def __init__(self, maps: tuple[int, int, int], out: tuple[int, int, int], width: int) -> None:
        super().__init__()
        depth, h, w = maps
        self.out = out
        self.scale = max(math.ceil(out[1] / h), math.ceil(out[2] / w))
        numbers = out[0] * self.scale**2
        self.positions = nn.Parameter(torch.eye(h * w)) if 1 < h * w <= MOVED else None
        self.linear = nn.Conv2d(depth, numbers, 1)
        self.deep = nn.Sequential(nn.Conv2d(depth, width, 1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1), nn.ReLU(),
                                  nn.Conv2d(width, numbers, 1))
        self.register_buffer("mean", torch.zeros(1, depth, 1, 1))
        self.register_buffer("std", torch.ones(1, depth, 1, 1))

    def forward(self, phi: Tensor) -> Tensor:
        """Rebuilt images."""
        z = (phi - self.mean) / self.std
        if self.positions is not None:
            z = (z.flatten(2) @ self.positions).reshape(z.shape)
        image = F.pixel_shuffle(self.linear(z) + self.deep(z), self.scale)
        if image.shape[2:] != self.out[1:]:
            image = F.interpolate(image, size=self.out[1:], mode="area")
        return image


def trained(phi: Tensor, images: Tensor, effort: Effort | None = None, seed: int = 0,
            progress: Progress | None = None) -> Inverter:
    """An inverter of the pairs (N, F, h, w) and (N, C, H, W), float32. Same seed, same bits; global generators stay."""
    effort = effort or Effort()
    if len(phi) < 2 or len(phi) != len(images):
        raise UsageError("an inverter learns from pairs", f"{len(phi)} maps and {len(images)} images", "give two at least")
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        net = Inverter(_triple(phi), _triple(images), effort.width)
        net.mean.copy_(phi.mean((0, 2, 3), keepdim=True))
        # One scale for all channels: scaling each by itself would blow up those that hold nothing but rounding.
        net.std.fill_(float(phi.std()) + 1e-6)
        optimizer = torch.optim.Adam(net.parameters(), lr=effort.rate)
        draw, size = torch.Generator().manual_seed(seed), min(effort.batch, len(phi))
        order = torch.zeros(0, dtype=torch.long)
        for step in range(effort.steps):
            if len(order) < size:
                order = torch.randperm(len(phi), generator=draw)
            chosen, order = order[:size], order[size:]
            optimizer.param_groups[0]["lr"] = effort.rate * 0.5 * (1 + math.cos(math.pi * step / effort.steps))
            optimizer.zero_grad(set_to_none=True)
            loss = (net(phi[chosen]) - images[chosen]).square().mean()
            loss.backward()
            optimizer.step()
            if progress is not None:
                progress(step + 1, effort.steps, f"inverter, loss {loss.item():.4f}")
    return net.requires_grad_(False).eval()


def rebuilt(net: Inverter, phi: Tensor) -> NDArray[np.float64]:
    """(N, C, H, W) in 0 … 1."""
    with torch.no_grad():
        parts = [net(part) for part in phi.split(256)]
    return torch.cat(parts).clamp(0, 1).double().numpy()


def _triple(x: Tensor) -> tuple[int, int, int]:
    return int(x.shape[1]), int(x.shape[2]), int(x.shape[3])
