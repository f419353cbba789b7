"""How an image is moved before each step, so that what stays is what the network sees from everywhere.

    pad → jitter → scale → rotate → jitter        (Lucid's order), composed into one affine map and read bilinearly once:
    out[y, x] = image[A⁻¹ (y, x)],  mid-grey outside

At its default the amounts are Lucid's for a canvas of 128 px, in proportion to the canvas. Source: Olah, Mordvintsev,
Schubert 2017.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from convscope.fields import param, validate

REFERENCE = 128  # px: the canvas for which the amounts are said
GREY = 0.5  # what is seen beyond the image, within 0 … 1


@dataclass(frozen=True)
class Shake:
    """How far is the image moved before each step? Amounts for a canvas of 128 px; smaller for a smaller one."""

    jitter: float = param(8.0, "largest shift, first", unit="px of 128", low=0)
    scale: float = param(0.1, "largest change of size, as a share", low=0, high=0.9)
    rotate: float = param(10.0, "largest turn; six of seven draws are no turn at all", unit="degrees", low=0, high=180)
    again: float = param(4.0, "largest shift, last", unit="px of 128", low=0)

    def __post_init__(self) -> None:
        validate(self)

    def times(self, factor: float) -> Shake:
        """All amounts, more or less."""
        return Shake(*(factor * amount for amount in (self.jitter, self.scale, self.rotate, self.again)))

    @property
    def still(self) -> bool:
        return not (self.jitter or self.scale or self.rotate or self.again)

    def draw(self, generator: torch.Generator, size: tuple[int, int]) -> Tensor:
        """(2, 3) an affine map from the shaken image's coordinates to the image's, in px around the middle."""
        share = min(size) / REFERENCE
        first, last = (self._shift(amount * share, generator) for amount in (self.jitter, self.again))
        scale = 1 + self.scale * (2 * torch.rand(1, generator=generator).item() - 1)
        turns = torch.rand(2, generator=generator)
        angle = 0.0 if turns[0] * 7 > 1 else math.radians(self.rotate) * (2 * turns[1].item() - 1)
        cos, sin = math.cos(angle) / scale, math.sin(angle) / scale
        dy, dx = last[0], last[1]  # the last shift is undone first
        return torch.tensor([[cos, sin, cos * dx + sin * dy + first[1]], [-sin, cos, -sin * dx + cos * dy + first[0]]])

    def _shift(self, most: float, generator: torch.Generator) -> tuple[int, int]:
        """Whole pixels: a shift by itself changes no value."""
        most = round(most)
        y, x = torch.randint(-most, most + 1, (2,), generator=generator).tolist()
        return y, x

    def __call__(self, images: Tensor, maps: Tensor) -> Tensor:
        """(B, C, H, W) images moved by their maps (B, 2, 3); differentiable."""
        if self.still:
            return images
        h, w = images.shape[2:]
        theta = maps.to(images).clone()
        theta[:, 0, 1] *= h / w  # grid_sample measures in half sides of the image
        theta[:, 1, 0] *= w / h
        theta[:, 0, 2] *= 2 / w
        theta[:, 1, 2] *= 2 / h
        grid = F.affine_grid(theta, list(images.shape), align_corners=False)
        return F.grid_sample(images - GREY, grid, mode="bilinear", padding_mode="zeros", align_corners=False) + GREY


LUCID = Shake()
