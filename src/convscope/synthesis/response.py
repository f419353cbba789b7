"""How strongly does a unit respond to a picture? On the picture as it is shown: 8 bits a channel, not shaken.

    r = max_p a[u, p]        the layer's own value, as a sweep over a collection takes it
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope.network import Network
from convscope.results import Layer
from convscope.synthesis.forward import Cut, canvas
from convscope.synthesis.image import Reading


def canvas_for(net: Network, layer: Layer) -> tuple[int, int]:
    """The smallest canvas that is exact for one position of a layer; the network's own size where there is none smaller."""
    own = net.input_shape[2:]
    return canvas(Cut(net, [layer.address]), layer) or (own[0], own[1])

def quantised(images: Tensor) -> Tensor:
    """Images within 0 … 1 as 8 bits hold them."""
    return (images * 255).round() / 255

def responses(
    net: Network, layer: str, units: Sequence[int], signs: Sequence[int], images: Tensor, read: Reading
) -> NDArray[np.float64]:
    """(B,) the largest response of unit `units[b]` to image b (B, C, H, W) within 0 … 1; the smallest for a sign −1."""
    cut = Cut(net, [layer])
    axis = net[layer].unit_axis or 1
    found: list[float] = []
    with torch.no_grad():
        for unit, sign, image in zip(units, signs, images, strict=True):
            value = cut(read(quantised(image)[None]).to(net.device, net.dtype))[cut.addresses[0]].movedim(axis, 1)
            found.append(sign * float((sign * value[0, unit]).max()))
    return np.array(found)


def tiles(images: Tensor) -> NDArray[np.uint8]:
    """(B, H, W, 3) what there is to look at: colours, grey, or the channels of an image side by side."""
    levels = (images * 255).round().to(torch.uint8).cpu().numpy()
    b, c, h, w = levels.shape
    if c == 3:
        return levels.transpose(0, 2, 3, 1).copy()
    if c > 1:
        levels = levels.transpose(0, 2, 1, 3).reshape(b, 1, h, c * w)
    return np.repeat(levels.transpose(0, 2, 3, 1), 3, axis=3)
