"""An up-convolutional network from a representation to an image, and how it is trained (Dosovitskiy and Brox 2016).

    z = (Φ − mean) / std                                         of the training images, channel by channel
    z → conv 3×3 or dense → [enlarge → conv 3×3] × n → conv 3×3 → image       leaky ReLU (0.2) between
    loss = mean (image − decoded)²                               Adam, rate falling to 0 as a half cosine

The paper enlarges by zeros between and 5×5 kernels; here by nearest neighbours and 3×3, which leaves no checkerboard.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

SLOPE = 0.2  # of the leaky ReLU
LEAST = 16  # channels
SMALLEST = 4  # px: what a vector is made into first


@dataclass(frozen=True)
class Training:
    """How long and how fast; `minutes` 0: no limit of time."""

    steps: int
    batch: int
    rate: float
    minutes: float


class UpConv:
    """Weights drawn from `generator`, none from anybody else's. Φ: (C, h, w) or a vector; out: (C, H, W)."""

    def __init__(self, shape: Sequence[int], out: Sequence[int], width: int, generator: torch.Generator) -> None:
        self.out, self.generator = tuple(out), generator
        self.mean, self.std = torch.zeros(()), torch.ones(())
        channels, *size = (shape[0], 1, 1) if len(shape) == 1 else shape
        self.vector = size == [1, 1]
        height, wide = self.out[1:]
        small = _halved(height, wide) if self.vector else (size[0], size[1])
        ratio = max(height / small[0], wide / small[1], 1)
        count = math.ceil(math.log2(ratio) - 1e-9)
        self.sizes = [_between(small, (height, wide), j / max(count, 1)) for j in range(count)] + [(height, wide)]
        widths = [max(LEAST, width >> j) for j in range(count + 1)]
        first = widths[0] * small[0] * small[1]
        self.weights = [self._drawn(first, channels) if self.vector else self._drawn(widths[0], channels, 3, 3)]
        self.biases = [torch.zeros(len(self.weights[0]))]
        for before, after in zip(widths, [*widths[1:], self.out[0]], strict=True):
            self.weights.append(self._drawn(after, before, 3, 3))
            self.biases.append(torch.zeros(after))
        self.biases[-1] += 0.5  # mid-grey
        self.small = small

    def _drawn(self, *shape: int) -> Tensor:
        """He's initialisation for the leaky ReLU."""
        fan = math.prod(shape[1:])
        return torch.randn(shape, generator=self.generator) * math.sqrt(2 / ((1 + SLOPE**2) * fan))

    @property
    def parameters(self) -> list[Tensor]:
        return [*self.weights, *self.biases]

    def __call__(self, phi: Tensor) -> Tensor:
        """(B, C, H, W) images of representations (B, …); not bounded to 0 … 1."""
        z = (phi - self.mean) / self.std
        weights, biases = self.weights, self.biases
        if self.vector:
            z = F.linear(z.flatten(1), weights[0], biases[0]).reshape(len(z), -1, *self.small)
        else:
            z = F.conv2d(z, weights[0], biases[0], padding=1)
        for size, weight, bias in zip(self.sizes, weights[1:], biases[1:], strict=True):
            z = F.leaky_relu(z, SLOPE)
            if tuple(z.shape[2:]) != size:
                z = F.interpolate(z, size=size, mode="nearest")
            z = F.conv2d(z, weight, bias, padding=1)
        return z

    def fit(self, phi: Tensor, images: Tensor, how: Training, report: Callable[[int, float], None]) -> list[float]:
        """The loss of every step; stops before the last where the time is over. `report(step, loss)` may raise."""
        over = [0, *range(2, phi.ndim)]
        self.mean = phi.mean(over, keepdim=True)
        self.std = phi.std(over, keepdim=True, correction=0) + 1e-6
        optimizer = torch.optim.Adam([p.requires_grad_() for p in self.parameters], lr=how.rate)
        losses: list[float] = []
        start = time.monotonic()
        batch = min(how.batch, len(phi))
        order = torch.zeros(0, dtype=torch.long)
        try:
            for step in range(how.steps):
                if how.minutes and time.monotonic() - start > 60 * how.minutes:
                    break
                if len(order) < batch:
                    order = torch.cat([order, torch.randperm(len(phi), generator=self.generator)])
                chosen, order = order[:batch], order[batch:]
                optimizer.param_groups[0]["lr"] = how.rate * 0.5 * (1 + math.cos(math.pi * step / how.steps))
                with torch.enable_grad():
                    loss = (self(phi[chosen]) - images[chosen]).square().mean()
                    gradients = torch.autograd.grad(loss, self.parameters)
                for parameter, gradient in zip(self.parameters, gradients, strict=True):
                    parameter.grad = gradient
                optimizer.step()
                losses.append(float(loss.detach()))
                report(step + 1, losses[-1])
        finally:
            for parameter in self.parameters:
                parameter.requires_grad_(False)
                parameter.grad = None
        return losses


def _halved(height: int, width: int) -> tuple[int, int]:
    """The image's size, halved until it is small: where a vector's picture begins."""
    while min(height, width) >= 2 * SMALLEST:
        height, width = -(-height // 2), -(-width // 2)
    return height, width


def _between(small: tuple[int, int], large: tuple[int, int], share: float) -> tuple[int, int]:
    """A size on the way, in equal ratios."""
    a, b = (round(s * (n / s) ** share) for s, n in zip(small, large, strict=True))
    return a, b
