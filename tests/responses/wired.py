"""A network whose units are known, because their filters are set by hand: colours, Gabors, corners, edges and spots."""

from __future__ import annotations

import math
from collections import OrderedDict

import torch
from torch import Tensor, nn

SIDE = 9  # pixels of each filter


def coordinates() -> tuple[Tensor, Tensor]:
    at = torch.arange(SIDE) - SIDE // 2.0
    return at[:, None].expand(SIDE, SIDE), at[None].expand(SIDE, SIDE)


def grey(kernel: Tensor) -> Tensor:
    """(3, h, w) of zero mean and unit length: blind to colour and to brightness."""
    kernel = kernel - kernel.mean()
    return (kernel / kernel.norm())[None].expand(3, SIDE, SIDE) / 3


def gabor(angle: float, period: float) -> Tensor:
    y, x = coordinates()
    a = math.radians(angle)
    wave = torch.cos(2 * math.pi * (x * math.cos(a) + y * math.sin(a)) / period)
    return grey(wave * torch.exp(-(x**2 + y**2) / (2 * 2.6**2)))


def corner(down: int, right: int) -> Tensor:
    """Light in one quarter, dark in the other three."""
    y, x = coordinates()
    inside = (y * down >= 0) & (x * right >= 0)
    return grey(inside / inside.sum() - ~inside / (~inside).sum())


def edge(angle: float) -> Tensor:
    y, x = coordinates()
    a = math.radians(angle)
    across = x * math.cos(a) + y * math.sin(a)
    return grey(torch.sign(across) * torch.exp(-(x**2 + y**2) / (2 * 2.6**2)))


def spot(width: float) -> Tensor:
    y, x = coordinates()
    r = torch.hypot(y, x)
    return grey((r <= width / 2) * 1.0 - ((r > width / 2) & (r <= width)) * 0.5)


def colour(*weights: float) -> Tensor:
    return torch.tensor(weights)[:, None, None].expand(3, SIDE, SIDE) / SIDE**2


# What the name of each unit must be, and its filter.
UNITS: dict[str, Tensor] = {
    "red": colour(1, -1, -1),
    "green": colour(-1, 1, -1),
    "blue": colour(-1, -1, 1),
    "vertical stripes of period ~4 px": gabor(0, 4),
    "rising (/) stripes of period ~4 px": gabor(45, 4),
    "horizontal stripes of period ~6 px": gabor(90, 6),
    "falling (\\) stripes of period ~6 px": gabor(135, 6),
    "the upper left corner of light areas": corner(1, 1),
    "the upper right corner of light areas": corner(1, -1),
    "the lower left corner of light areas": corner(-1, 1),
    "the lower right corner of light areas": corner(-1, -1),
    "vertical edges, light on the right": edge(0),
    "horizontal edges, light above": -edge(90),
    "light spots": spot(6),
    "dark spots": -spot(6),
}


def wired(classes: int = 5) -> nn.Module:
    """3×32×32 → the filters → ReLU → largest response of each → linear; class k hears unit k only, the last unit is dead."""
    kernels = torch.stack([*UNITS.values(), torch.zeros(3, SIDE, SIDE)])
    conv = nn.Conv2d(3, len(kernels), SIDE, padding=SIDE // 2)
    head = nn.Linear(len(kernels), classes)
    with torch.no_grad():
        conv.weight.copy_(kernels)
        assert conv.bias is not None
        conv.bias.zero_()
        conv.bias[-1] = -1
        head.weight.zero_()
        head.weight[:, :classes] = torch.eye(classes)
        head.bias.zero_()
    layers = OrderedDict(conv=conv, relu=nn.ReLU(), pool=nn.AdaptiveMaxPool2d(1), flatten=nn.Flatten(), head=head)
    return nn.Sequential(layers).eval()
