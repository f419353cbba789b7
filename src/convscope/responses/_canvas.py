"""What the pictures of an atlas are made on: their size, their colours, and how they are read.

    cos(a, μ) = ⟨a, μ⟩ / (‖a‖ ‖μ‖)        a: the layer at the middle of the picture, as it is shown (8 bits, unmoved)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope.errors import UsageError
from convscope.responses._study import Study
from convscope.results import Layer
from convscope.synthesis import colours
from convscope.synthesis.colours import Colours
from convscope.synthesis.forward import Cut, canvas
from convscope.synthesis.image import Image, Reading
from convscope.synthesis.objective import Place, Seen, middle
from convscope.synthesis.response import quantised

LARGEST = 96  # px, unless the network fixes its input's size


@dataclass(frozen=True)
class Canvas:
    """Pictures for one layer."""

    cut: Cut
    size: tuple[int, int]
    colours: Colours
    read: Reading
    said: str

    @property
    def image(self) -> Image:
        return Image("fourier", self.size, self.colours)

    def cosine(self, pictures: Tensor, means: NDArray[np.float64]) -> NDArray[np.float64]:
        """(M,) between what each picture (M, C, H, W) brings about at its middle and a mean (M, U)."""
        net, address = self.cut.net, self.cut.addresses[0]
        found: list[float] = []
        for picture, mean in zip(pictures, means, strict=True):
            with torch.no_grad():
                value = self.cut(self.read(quantised(picture)[None]).to(net.device, net.dtype))[address]
                seen, place = Seen((net,), {Place(0, address): value}, self.size), Place(0, address)
                a = seen.at(place)[0][(slice(None), *middle(seen, place))].double().cpu().numpy()
            length = np.linalg.norm(a) * np.linalg.norm(mean)
            found.append(float(a @ mean / length) if length else 0.0)
        return np.array(found)


def canvas_of(study: Study, layer: str, wanted: int, seed: int) -> Canvas:
    """The canvas of a layer's pictures; `wanted` is its side, 0 chooses. Errors: UsageError."""
    net = study.net
    if len(net.input_shape) != 4:
        raise UsageError(f"pictures for {layer}", f"{net.name} reads {net.input_shape[1:]}, no images",
                         "choose a network that reads images")
    cut = Cut(net, [layer])
    own = (net.input_shape[2], net.input_shape[3])
    size = (wanted, wanted) if wanted else _chosen(cut, net[layer], own)
    if size != own and not cut.any_size:
        raise UsageError(f"pictures of {size[0]}×{size[1]} px", f"{net.name} takes {own[0]}×{own[1]}", "leave the size out")
    if size != own and not _fits(cut, size):
        raise UsageError(f"pictures of {size[0]}×{size[1]} px", f"{layer} has no position there", "ask for larger ones")
    tint = colours.measured(lambda i: study.collection[i], len(study.collection), seed)
    if len(tint.mean) != net.input_shape[1]:
        tint = colours.IMAGENET if net.input_shape[1] == 3 else colours.independent(net.input_shape[1])
    return Canvas(cut, size, tint, Reading(study.preprocess, net.input_shape[1]), f"pictures of {size[0]}×{size[1]} px")


def _chosen(cut: Cut, layer: Layer, own: tuple[int, int]) -> tuple[int, int]:
    """What one position sees, where that is at most 96 px; else 96 px, if the layer has a position there; else the whole."""
    exact = canvas(cut, layer) or own
    if not cut.any_size or layer.fields is None:
        return own
    smaller = (min(own[0], exact[0], LARGEST), min(own[1], exact[1], LARGEST))
    return smaller if _fits(cut, smaller) else own


def _fits(cut: Cut, size: tuple[int, int]) -> bool:
    """Has the layer a position on a canvas of this size? Asked of the network: a window that does not fit raises."""
    net = cut.net
    try:
        value = cut(torch.zeros(1, net.input_shape[1], *size, dtype=net.dtype, device=net.device))[cut.addresses[0]]
    except RuntimeError:
        return False
    return value.numel() > 0
