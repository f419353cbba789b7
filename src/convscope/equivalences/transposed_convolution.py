"""A transposed convolution is the input gradient of a convolution, and the other way round.

    conv_transpose(δ, weight) = ∂⟨δ, conv(x, weight)⟩/∂x            conv(δ, weight) = ∂⟨δ, conv_transpose(z, weight)⟩/∂z

The same kernels serve both: (K, C, kh, kw) makes K maps from C as a convolution, C maps from K as a transposed one. Rows
that a stride leaves unread come back as `output_padding`.

Sources: Zeiler et al. 2010, "Deconvolutional Networks"; Dumoulin and Visin 2016, "A guide to convolution arithmetic".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from convscope.equivalences._proof import Row, asked, by, delta_of, operator, table, wants
from convscope.fields import validate
from convscope.geometry import transposed_output_size
from convscope.mechanics.capture import Capture
from convscope.operators._windows import per_axis
from convscope.operators.conv import Conv
from convscope.operators.conv_transpose import ConvTranspose
from convscope.results import Layer, Table

_CONV: dict[int, Any] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSED: dict[int, Any] = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


@dataclass(frozen=True)
class TransposedConvolution:
    """Is this layer's backward pass a transposed convolution, and the transposed one's a convolution?

    For a convolution of x (B, C, H, W) with δ (B, K, h, w): torch's transposed convolution of δ with the same kernels is
    held against autograd's ∂L/∂x; then the gradient of that transposed convolution, for x as its delta, against the
    convolution of x without bias. For a transposed convolution the two change places. Float64.

    Misleads where "deconvolution" is taken for an inverse: sizes come back, values do not (see `inverse`). Errors:
    UsageError for other layers, or where padding is not the same on both sides. Source: Zeiler et al. 2010; Dumoulin and
    Visin 2016.

    >>> import convscope as cs
    >>> net = cs.open("zoo:lenet5")
    >>> TransposedConvolution()(Capture(net, torch.ones(1, 1, 28, 28)), net["conv2"]).title
    'conv2: ∂L/∂x = transposed convolution of δ, 16×10×10 → 6×14×14'
    """

    def __post_init__(self) -> None:
        validate(self)

    def applies(self, kept: Capture, layer: Layer) -> str:
        """'' or why this cannot be asked of the layer."""
        found = operator(kept, layer)
        if isinstance(found, Conv) and isinstance(found.padding, str) and found.padding == "same":
            return f"{layer.address} pads to the 'same' size, maybe unevenly: a transposed convolution pads both sides alike"
        return wants(kept, layer, (Conv, ConvTranspose), "a convolution")

    def __call__(self, kept: Capture, layer: Layer) -> Table:
        call = asked(self, kept, layer)
        x, weight, *_ = kept.arrays(call)
        delta, which = delta_of(kept, call)
        _, gradients = kept.autograd(call, delta)
        settings, kernels = _settings(call.operator, weight), torch.from_numpy(weight.copy())
        convolution = isinstance(call.operator, Conv)
        large, small = (x, delta) if convolution else (delta, x)
        extra = _unread(settings, weight, small.shape, large.shape)
        rank = weight.ndim - 2

        def forwards(value: Any) -> Any:
            return _CONV[rank](value, kernels, **settings)

        def backwards(value: Any) -> Any:
            return _TRANSPOSED[rank](value, kernels, output_padding=extra, **settings)

        way, back = (backwards, forwards) if convolution else (forwards, backwards)
        names = ("transposed convolution", "convolution") if convolution else ("convolution", "transposed convolution")
        made = way(torch.from_numpy(delta.copy())).numpy()
        leaf = torch.zeros(delta.shape, dtype=torch.float64, requires_grad=True)
        with torch.enable_grad():
            (theirs,) = torch.autograd.grad(way(leaf), leaf, torch.from_numpy(x.copy()))
        plain = back(torch.from_numpy(x.copy())).numpy()
        sizes = f"{by(*delta.shape[1:])} → {by(*x.shape[1:])}"
        rows = (
            Row(f"input gradient of {layer.address}", f"autograd, with {which}", f"{names[0]}, {sizes}",
                (gradients[0], made)),
            Row(f"gradient of that {names[0]}", "autograd, with x as its delta",
                f"{names[1]} without bias, {by(*x.shape[1:])} → {by(*delta.shape[1:])}", (theirs.numpy(), plain)),
        )
        notes = (f"output_padding {by(*extra)}: rows and columns that the stride leaves unread",) if any(extra) else ()
        return table(self, kept, f"{layer.address}: ∂L/∂x = {names[0]} of δ, {sizes}", rows, notes)


def _settings(found: Any, weight: Any) -> dict[str, Any]:
    rank = weight.ndim - 2
    padding = 0 if found.padding == "valid" else found.padding
    numbers = {"stride": found.stride, "padding": padding, "dilation": found.dilation}
    return {**{k: per_axis(v, rank) for k, v in numbers.items()}, "groups": found.groups}


def _unread(settings: dict[str, Any], weight: Any, small: tuple[int, ...], large: tuple[int, ...]) -> tuple[int, ...]:
    """How much larger the map is than what its windows read."""
    each = zip(small[2:], weight.shape[2:], settings["stride"], settings["padding"], settings["dilation"], strict=True)
    return tuple(n - transposed_output_size(*facts) for n, facts in zip(large[2:], each, strict=True))
