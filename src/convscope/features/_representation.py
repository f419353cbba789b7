"""What a layer, or some of it, holds of an image: Φ(x), and how far another image's Φ is from it.

    E(x) = ‖Φ(x) − Φ₀‖² / ‖Φ₀‖²             0: the layer cannot tell the images apart
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope import likeness
from convscope.errors import DataError, ShapeError
from convscope.network import Network
from convscope.synthesis.forward import Cut
from convscope.synthesis.image import Reading

Numbers = dict[str, NDArray[Any]]


class Representation:
    """A layer, a channel of it or one position, as a function of images within 0 … 1."""

    def __init__(self, net: Network, target: str, read: Reading) -> None:
        self.net, self.read = net, read
        self.layer = net[target.partition("/")[0]]
        self.unit = net.unit(target)
        self.cut = Cut(net, [self.layer.address])

    def __call__(self, images: Tensor) -> Tensor:
        """Φ (B, …) of images (B, C, H, W)."""
        net = self.net
        value = self.cut(self.read(images).to(net.device, net.dtype))[self.layer.address]
        if not value.is_floating_point():
            raise ShapeError(f"{self.layer.address} cannot be inverted", f"its output is {value.dtype}",
                             "choose a layer of real numbers")
        if self.unit.channel is None:
            return value
        value = value.movedim(self.layer.unit_axis or 1, 1)[:, self.unit.channel]
        return value if self.unit.position is None else value[(slice(None), *self.unit.position)]

    def of(self, image: Tensor) -> Tensor:
        """Φ₀ of an image. Errors: DataError where it is zero or not finite."""
        with torch.no_grad():
            value = self(image).clone()
        if not torch.isfinite(value).all():
            raise DataError(f"what {self.unit} holds of this image cannot be inverted", "it has NaN or infinite values",
                            "look for where they arise")
        if not value.any():
            raise DataError(f"what {self.unit} holds of this image cannot be inverted", "all of it is zero",
                            "give another image or another layer: this one answers nothing")
        return value

    def error(self, images: Tensor, wanted: Tensor) -> Tensor:
        """E of one image; differentiable."""
        return (self(images) - wanted).square().sum() / wanted.square().sum()


def levels(images: Tensor) -> NDArray[np.uint8]:
    """(B, C, H, W) uint8 of images within 0 … 1."""
    return (images * 255).round().to(torch.uint8).cpu().numpy()


def likenesses(original: NDArray[np.uint8], pictures: NDArray[np.uint8]) -> Numbers:
    """PSNR, SSIM and share of variance explained (B,) of pictures (B, C, H, W) against an original (C, H, W)."""
    return {
        "psnr": np.array([likeness.psnr(original, p) for p in pictures]),
        "ssim": np.array([likeness.similarity(original, p) for p in pictures]),
        "explained": np.array([likeness.explained(original, p) for p in pictures]),
    }
