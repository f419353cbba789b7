"""Images that hold no evidence, in the network's own units, and said in words; and the range that its pixels have."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from convscope.errors import UsageError
from convscope.network import Network

BASELINES = ("zero", "black", "grey", "mean", "blur")
HELP = "zeros in the network's units, black or mid-grey pixels, the image's own mean colour, or the image blurred"


def baseline(net: Network, x: Tensor, name: str) -> tuple[Tensor, str]:
    """(B, C, H, W) of one of BASELINES for the images `x`, and what it is. Errors: UsageError (no pixel range known)."""
    if name == "mean":
        return x.mean((2, 3), keepdim=True).expand_as(x), "the image's own mean colour"
    if name == "blur":
        sigma = min(x.shape[2:]) / 16
        return blurred(x, sigma), f"the image blurred (Gaussian, σ = {sigma:.3g} px, border pixels repeated)"
    if name == "zero":
        return torch.zeros_like(x), "zeros in the network's units" + _as_pixels(net, x)
    black, white = known_range(net, x, f"baseline='{name}'")
    colour = black if name == "black" else (black + white) / 2
    numbers = ", ".join(f"{v:.3g}" for v in colour[:4].tolist()) + (", …" if len(colour) > 4 else "")
    return colour[:, None, None].expand_as(x), f"{name} pixels ({numbers} in the network's units)"


def known_range(net: Network, x: Tensor, asked: str) -> tuple[Tensor, Tensor]:
    """(C,) and (C,): what black and white are in the network's units. Errors: UsageError."""
    if net.preprocess is None:
        raise UsageError(f"{asked} needs to know the pixel range", f"{net.name} was opened without preprocessing",
                         "open it with preprocess=…, or use 'zero', 'mean' or 'blur'")
    mean, std = (torch.tensor(v, dtype=x.dtype, device=x.device).expand(x.shape[1])
                 for v in (net.preprocess.mean, net.preprocess.std))
    return -mean / std, (net.preprocess.range - mean) / std


def pixel_range(net: Network, image: Tensor) -> tuple[Tensor, Tensor, str]:
    """(C,), (C,) and words: black and white, or where those are not known the range that the image (C, H, W) itself has."""
    if net.preprocess is not None:
        return *known_range(net, image[None], "noise"), "the pixel range"
    return (image.min().expand(len(image)), image.max().expand(len(image)),
            "the image's own range (preprocessing not given, so the pixels' range is not known)")


def blurred(x: Tensor, sigma: float) -> Tensor:
    """`x` (B, C, H, W) under a Gaussian of `sigma` pixels, cut at 3 σ; its border pixels repeated outside."""
    radius = max(1, round(3 * sigma))
    offsets = torch.arange(-radius, radius + 1, dtype=x.dtype, device=x.device)
    weights = torch.exp(-offsets.square() / (2 * sigma**2))
    weights = weights / weights.sum()
    planes = F.pad(x.flatten(0, 1)[:, None], (radius,) * 4, mode="replicate")
    rows = F.conv2d(planes, weights[None, None, None, :])
    return F.conv2d(rows, weights[None, None, :, None])[:, 0].reshape(x.shape)


def _as_pixels(net: Network, x: Tensor) -> str:
    """' = pixels 124, 116, 104', where known: zero is rarely black."""
    if net.preprocess is None:
        return ""
    black, white = known_range(net, x, "zero")
    pixels = 255 * -black / (white - black)
    return " = pixels " + ", ".join(f"{v:.0f}" for v in pixels[:4].tolist()) + (", …" if len(pixels) > 4 else "")
