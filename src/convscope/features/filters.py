"""The learned filters of a convolution as pictures (Krizhevsky, Sutskever, Hinton 2012, figure 3).

First layer: the filter itself, in colour or grey. Deeper, a filter has one slice for each input channel, and is shown as

    norm        t[u, i, j] = 1/C · Σ_c |w[u, c, i, j]|
    strongest   t[u, i, j] = w[u, c*, i, j],   c* = argmax_c ‖w[u, c]‖₂
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convscope import learned
from convscope.features._given import NOTHING, Given
from convscope.fields import param, validate
from convscope.network import Network
from convscope.results import Picture

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Filters:
    """What do the learned weights of each unit look like?

    One tile (h, w) a unit, in the order of the units. Filters on a colour image are drawn as colours, w = 0 at
    mid-grey, each or all scaled to the largest |w|; filters on one channel, on a signed scale; filters with C > 1 input
    channels as `view` says. Numbers are weights, in units of output per input unit, before any batch norm. `values`:
    'norm' ‖w_u‖₂, 'limit' the largest |w|, and for 'strongest' the input channel.

    Misleads beyond the first layer: what a deep filter looks for depends on what its inputs are. Errors: UnknownName for a
    layer without filters. Source: Krizhevsky, Sutskever, Hinton 2012.

    >>> import torch
    >>> net = Network.open(torch.nn.Conv2d(3, 8, 5), (3, 16, 16))
    >>> Filters()(net, "conv2d").tiles.shape
    (8, 5, 5, 3)
    """

    view: str = param("norm", "of many input channels: mean of absolute values, or the strongest channel's weights",
                      choices=("norm", "strongest"))
    scale: str = param("each", "one scale for each filter, or one for all", choices=("each", "shared"))
    most: int = param(256, "filters shown at most", low=1)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, net: Network, target: str, given: Given = NOTHING) -> Picture:
        """The filters of the layer at this address."""
        del given  # weights are all there is to see
        found = net[target]
        weights, on_image = learned.filters(net, found)
        kept = weights[: self.most]
        notes = [f"the first {self.most} of {len(weights)} units"] if len(weights) > self.most else []
        facts = {"norm": np.sqrt((kept**2).sum((1, 2, 3))), "limit": np.abs(kept).max((1, 2, 3))}
        units = tuple(f"{found.address}/{u}" for u in range(len(kept)))
        if kept.shape[2:] == (1, 1):
            notes.append("the kernels are 1×1: each tile is one number")
        if on_image and kept.shape[1] == 3:
            tiles, signed, scale = self._colours(net, kept), False, "rgb"
            largest = "each filter" if self.scale == "each" else "all filters"
            notes.append(f"mid-grey is zero, white and black are ± the largest weight of {largest}")
        else:
            tiles, signed, more, note = self._slices(kept)
            facts, scale = facts | more, self.scale
            notes += note
        return Picture(tiles=tiles, units=units, title=f"filters of {found.address}", scale=scale, signed=signed,
                       values=facts, notes=tuple(notes), origin=net.origin(self))

    def _colours(self, net: Network, kept: Array) -> NDArray[np.uint8]:
        """(U, h, w, 3) uint8."""
        limit = np.abs(kept).max((1, 2, 3) if self.scale == "each" else None, keepdims=True)
        bgr = net.preprocess is not None and net.preprocess.channels == "BGR"
        shares = np.divide(kept[:, ::-1] if bgr else kept, limit, out=np.zeros_like(kept), where=limit > 0)
        return np.rint(127.5 + 127.5 * shares).astype(np.uint8).transpose(0, 2, 3, 1)

    def _slices(self, kept: Array) -> tuple[Array, bool, dict[str, NDArray[np.int64]], list[str]]:
        """Tiles (U, h, w), whether they are signed, further numbers and what to say."""
        if kept.shape[1] == 1:
            return kept[:, 0], True, {}, []
        if self.view == "norm":
            return np.abs(kept).mean(1), False, {}, [f"mean of |w| over {kept.shape[1]} input channels"]
        channel = (kept**2).sum((2, 3)).argmax(1)
        note = f"of {kept.shape[1]} input channels the one with the largest weights"
        return kept[np.arange(len(kept)), channel], True, {"channel": channel}, [note]
