"""A dense layer behind a map is a convolution whose kernel is as large as the map.

    y[b, k] = bias[k] + Σ_c Σ_i weight[k, (c, i)] · x[b, c, i]  =  conv(x, weight reshaped to (K, C, h, w))[b, k, 0, 0]

Behind a vector it is a 1×1 convolution; on positions with features last, a 1×1 convolution at every position.

Source: Sermanet et al. 2014, "OverFeat"; Long, Shelhamer, Darrell 2015, "Fully Convolutional Networks".
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import torch
import torch.nn.functional as F

from convscope.equivalences._proof import Row, asked, before, by, table, wants
from convscope.fields import validate
from convscope.glass import Call
from convscope.mechanics.capture import Capture
from convscope.operators.linear import Linear
from convscope.operators.reshape import Flatten, Reshape
from convscope.results import Layer, Table


@dataclass(frozen=True)
class DenseAsConvolution:
    """Is this dense layer a convolution with a kernel as large as the map before it?

    The weights (K, C·h·w) become kernels (K, C, h, w); torch's convolution of the map (B, C, h, w) that was flattened must
    give the dense layer's (B, K), as K maps of one position; float64. On a larger image the convolution would give larger
    maps: the network slides over it.

    Misleads where the map is not flattened in the order channel, row, column. Errors: UsageError for a layer that is not
    dense. Source: Sermanet et al. 2014; Long et al. 2015.

    >>> import convscope as cs
    >>> net = cs.open("zoo:lenet5")
    >>> DenseAsConvolution()(Capture(net, torch.ones(1, 1, 28, 28)), net["fc1"]).title
    'fc1: dense 400 → 120 = convolution of 16×5×5 with 120 kernels of 16×5×5'
    """

    def __post_init__(self) -> None:
        validate(self)

    def applies(self, kept: Capture, layer: Layer) -> str:
        """'' or why this cannot be asked of the layer."""
        return wants(kept, layer, Linear, "a dense layer")

    def __call__(self, kept: Capture, layer: Layer) -> Table:
        call = asked(self, kept, layer)
        x, weight, *rest = kept.arrays(call)
        bias = None if not rest or rest[0] is None else torch.from_numpy(rest[0])
        y = kept.value(call.name)
        maps = before_flattening(kept, call)
        if maps is None:  # a vector for each position: features last become channels first
            maps = x[:, :, None, None] if x.ndim == 2 else x.reshape(len(x), -1, x.shape[-1]).swapaxes(1, 2)[..., None]
        size = maps.shape[2:] if prod(maps.shape[1:]) == weight.shape[1] else (1, 1)
        kernels = torch.from_numpy(weight).reshape(len(weight), maps.shape[1], *size)
        convolve = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[len(size)]
        made = convolve(torch.from_numpy(maps.copy()), kernels, bias)  # (B, K, …)
        where = "" if made[0, 0].numel() == 1 else f" at {made[0, 0].numel()} positions"
        other = f"{by(*made.shape[1:])}, kernels {by(*kernels.shape)}"
        rows = (
            Row("output", f"dense, {weight.shape[1]} → {weight.shape[0]}{where}", other,
                (y, made.flatten(2).swapaxes(1, 2).reshape(y.shape).numpy())),
            Row("weights", f"{by(*weight.shape)} = {weight.size:,}", f"{by(*kernels.shape)} = {kernels.numel():,}"),
        )
        what = f"dense {weight.shape[1]} → {weight.shape[0]}{where}"
        kernel = f"{len(weight)} kernels of {by(*kernels.shape[1:])}"
        return table(self, kept, f"{layer.address}: {what} = convolution of {by(*maps.shape[1:])} with {kernel}", rows)


def before_flattening(kept: Capture, call: Call) -> Any:
    """(B, C, h, w): the map whose numbers, in order, a dense layer reads; None where it reads no flattened map."""
    flattening = before(kept, call.reads[0])
    if flattening is None or not isinstance(flattening.operator, (Flatten, Reshape)):
        return None
    source = before(kept, flattening.reads[0])
    name = flattening.reads[0] if source is None else source.name
    assert name is not None
    maps, flat = kept.value(name), kept.value(flattening.name)
    same = len(maps) == len(flat) and flat.ndim == 2 and maps.ndim in (3, 4, 5)
    return maps if same else None
