"""What stands where a part of an image is taken away: nothing that is natural, so it is always said.

mean    the image's own mean colour                    blur    the image, blurred (Gaussian, σ = a tenth of its shorter side)
grey    mid-grey of the pixel range                    noise   normal noise with the image's mean and deviation, per channel
zero    zeros in the network's units
or a colour in pixel units: '#808080', '128,128,128', '0.5' (one number for all channels)
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from convscope.errors import UsageError
from convscope.network import Network

FILLS = ("mean", "grey", "zero", "blur", "noise")
BLUR = 0.1  # σ of the blur, as a share of the image's shorter side


def check(fill: str) -> None:
    """UsageError for a fill that is neither a name nor a colour."""
    if fill not in FILLS:
        _numbers(fill, 1.0)


def filled(net: Network, x: Tensor, fill: str, seed: int = 0) -> Tensor:
    """(B, C, H, W): what each image shows where it is covered, in the network's units."""
    if fill == "mean":
        return x.double().mean((2, 3), keepdim=True).to(x.dtype).expand_as(x)
    if fill == "zero":
        return torch.zeros_like(x)
    if fill == "noise":
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(x.shape[1:], generator=generator, dtype=torch.float64).to(x)  # the same for every image
        return noise * x.std((2, 3), keepdim=True) + x.mean((2, 3), keepdim=True)
    if fill == "blur":
        return blurred(x, BLUR * min(x.shape[2:]))
    return colour(net, fill, x.shape[1]).to(x)[None, :, None, None].expand_as(x)


def colour(net: Network, text: str, channels: int) -> Tensor:
    """(C,) a colour given in pixel units, in the network's units."""
    if net.preprocess is None:
        raise UsageError(f"fill={text!r} needs to know the pixel range", f"{net.name} was opened without preprocessing",
                         "open it with preprocess=…, or use fill='mean'")
    white = net.preprocess.range
    numbers = [white / 2] if text == "grey" else _numbers(text, white)
    if len(numbers) not in (1, channels):
        raise UsageError(f"the fill {text!r} has {len(numbers)} numbers", f"the network reads {channels} channels",
                         "give one number, or one a channel")
    mean, std = (torch.tensor(v, dtype=torch.float64) for v in (net.preprocess.mean, net.preprocess.std))
    return (torch.tensor(numbers, dtype=torch.float64) - mean) / std


def _numbers(text: str, white: float) -> list[float]:
    """'#808080' or '128,128,128' (0 … 255) as numbers up to `white`."""
    try:
        parts = [int(text[i : i + 2], 16) for i in (1, 3, 5)] if text.startswith("#") and len(text) == 7 else \
            [float(part) for part in text.split(",")]
    except ValueError as problem:
        raise UsageError(f"no fill named {text!r}", f"there are {', '.join(FILLS)}, and colours",
                         "colours are '#808080' or '128,128,128', 0 … 255") from problem
    if not all(0 <= part <= 255 for part in parts):
        raise UsageError(f"the fill {text!r} is no colour", "pixel values lie in 0 … 255", "for example 128,128,128")
    return [part * white / 255 for part in parts]


def blurred(x: Tensor, sigma: float) -> Tensor:
    """x (B, C, H, W) under a Gaussian of deviation `sigma` pixels, mirrored at the border."""
    radius = max(1, min(round(3 * sigma), min(x.shape[2:]) - 1))
    at = torch.arange(-radius, radius + 1, dtype=torch.float64)
    kernel = torch.exp(-at**2 / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).to(x)
    for axis in (2, 3):
        if x.shape[axis] == 1:
            continue
        reach = min(radius, x.shape[axis] - 1)
        some = kernel[radius - reach : radius + reach + 1]
        shape = (1, 1, -1, 1) if axis == 2 else (1, 1, 1, -1)
        pad = (0, 0, reach, reach) if axis == 2 else (reach, reach, 0, 0)
        weight = (some / some.sum()).reshape(shape).expand(x.shape[1], 1, *(-1, -1))
        x = F.conv2d(F.pad(x, pad, mode="reflect"), weight, groups=x.shape[1])
    return x


def said(net: Network, x: Tensor, fill: str, seed: int) -> str:
    """The fill in words; of several images the first one's numbers."""
    if fill == "zero":
        return "zeros in the network's units"
    if fill == "blur":
        return f"the image itself, blurred (σ = {BLUR * min(x.shape[2:]):.3g} px)"
    if fill == "noise":
        return f"normal noise of the image's own mean and deviation (seed {seed})"
    numbers = filled(net, x[:1], fill)[0, :4, 0, 0].tolist()
    listed = ", ".join(f"{v:.3g}" for v in numbers) + (", …" if x.shape[1] > 4 else "")
    own = "each image's own mean colour" if len(x) > 1 else "its own mean colour"
    name = {"mean": own, "grey": "mid-grey"}.get(fill, f"the colour {fill}")
    return f"{name} ({listed} in the network's units)"
