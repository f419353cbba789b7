"""What takes the place of pixels that are removed, and how it is said: no such number means anything without its fill.

    mean    the image's own mean colour        zero   zeros in the network's units
    black   black in pixel units               blur   the image itself, blurred
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from convscope.errors import UsageError
from convscope.network import Network

FILLS = ("mean", "zero", "black", "blur")


def fill(net: Network, x: Tensor, how: str, sigma: float | None = None) -> tuple[Tensor, str]:
    """(B, C, H, W) what each image is replaced with, and that in words. Errors: UsageError (black, range unknown)."""
    if how == "mean":
        return x.mean((2, 3), keepdim=True).expand_as(x), "each image's own mean colour"
    if how == "zero":
        return torch.zeros_like(x), "zeros in the network's units"
    if how == "black":
        if net.preprocess is None:
            raise UsageError("fill='black' needs to know the pixel range", f"{net.name} was opened without preprocessing",
                             "open it with preprocess=…, or use fill='mean'")
        mean, std = (x.new_tensor(v)[:, None, None] for v in (net.preprocess.mean, net.preprocess.std))
        return (-mean / std).expand_as(x), "black"
    sigma = sigma if sigma is not None else usual_sigma(x)
    reach = radius(sigma, x)
    return blurred(x, sigma), f"the image blurred by a Gaussian of σ = {sigma:.3g} px, cut at {reach} px"


def usual_sigma(x: Tensor) -> float:
    """5 px at 224 px as in RISE, in proportion, but at least 2 px."""
    return max(2.0, 5 / 224 * min(x.shape[2:]))


def radius(sigma: float, x: Tensor) -> int:
    """Twice σ, as far as the image goes (it is mirrored at its border)."""
    return min(math.ceil(2 * sigma), min(x.shape[2:]) - 1)


def blurred(x: Tensor, sigma: float) -> Tensor:
    """(B, C, H, W) → the same, weights exp(−d²/2σ²) along rows and columns, adding up to 1."""
    reach, channels = radius(sigma, x), x.shape[1]
    weights = np.exp(-np.arange(-reach, reach + 1) ** 2 / (2 * sigma**2))
    line = torch.from_numpy(weights / weights.sum()).to(x).expand(channels, 1, -1)
    padded = F.pad(x, (reach,) * 4, mode="reflect") if reach else x
    return F.conv2d(F.conv2d(padded, line[:, :, None, :], groups=channels), line[:, :, :, None], groups=channels)
