"""Average pooling is a convolution that learns nothing: every channel by itself, all weights 1/(kh·kw).

    y[b, c, i] = Σ_t 1/n · x[b, c, i·stride − padding + t]

Source: LeCun et al. 1998, "Gradient-based learning applied to document recognition" (subsampling with shared coefficients);
Springenberg et al. 2015, "Striving for Simplicity".
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from convscope.equivalences._proof import Row, asked, by, operator, table, wants
from convscope.fields import validate
from convscope.geometry import Window
from convscope.mechanics.capture import Capture
from convscope.operators.adaptive_pool import AdaptiveAvgPool
from convscope.operators.avg_pool import AvgPool
from convscope.operators.global_pool import GlobalPool
from convscope.results import Layer, Table

POOLS = (AvgPool, AdaptiveAvgPool, GlobalPool)


@dataclass(frozen=True)
class AveragePoolAsConvolution:
    """Is this average pooling a convolution with a fixed kernel?

    C kernels (1, kh, kw) of equal numbers 1/(kh·kw), in C groups, with the pool's stride and padding: torch's convolution of
    the input (B, C, H, W) must give the pool's (B, C, h, w), float64. A global mean has a kernel as large as the map.

    Misleads where windows hang over the border and are divided by fewer pixels: no fixed kernel does that, and the reason is
    given instead. Errors: UsageError where it does not apply. Source: LeCun et al. 1998; Springenberg et al. 2015.

    >>> import convscope as cs
    >>> net = cs.open("zoo:resnet18")
    >>> AveragePoolAsConvolution()(Capture(net, torch.ones(1, 3, 64, 64)), net["avgpool"]).title
    'avgpool: average pooling = convolution with a fixed kernel of 2×2, all 0.25, in 512 groups'
    """

    def __post_init__(self) -> None:
        validate(self)

    def applies(self, kept: Capture, layer: Layer) -> str:
        """'' or why this cannot be asked of the layer."""
        reason = wants(kept, layer, POOLS, "an average pooling")
        return reason or _uneven(operator(kept, layer), layer, kept.value(_read(kept, layer)).shape)

    def __call__(self, kept: Capture, layer: Layer) -> Table:
        call = asked(self, kept, layer)
        x, y = kept.arrays(call)[0], kept.value(call.name)
        windows = _windows(call.operator, x.shape)
        kernel = tuple(w.kernel for w in windows)
        share = 1 / (getattr(call.operator, "divisor_override", None) or prod(kernel))
        channels = x.shape[1]
        kernels = torch.full((channels, 1, *kernel), share, dtype=torch.float64)
        convolve: Any = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[len(kernel)]
        made = convolve(torch.from_numpy(x.copy()), kernels, stride=tuple(w.stride for w in windows),
                        padding=tuple(w.padding for w in windows), groups=channels).numpy()
        rows = (
            Row("output", f"mean of {by(*kernel)} windows", f"{channels} kernels of 1×{by(*kernel)}, all {share:.6g}",
                (y, made.reshape(y.shape))),
            Row("learned numbers", "0", f"0; the kernels would be {kernels.numel():,}"),
        )
        what = f"a fixed kernel of {by(*kernel)}, all {share:.6g}, in {channels} groups"
        return table(self, kept, f"{layer.address}: average pooling = convolution with {what}", rows)


def _read(kept: Capture, layer: Layer) -> str:
    return str(kept.call(layer).reads[0])


def _uneven(pool: Any, layer: Layer, x: tuple[int, ...]) -> str:
    """Why no fixed kernel gives this pool's numbers; '' where one does."""
    name = layer.address
    if isinstance(pool, GlobalPool):
        axes = np.sort(np.atleast_1d(range(len(x)) if not pool.dim else pool.dim) % len(x)).tolist()
        if pool.kind != "mean":
            return f"{name} takes the {pool.kind}, not the mean"
        return "" if axes == list(range(2, len(x))) and axes else f"{name} is a mean over axes {axes}, not over a map's"
    if isinstance(pool, AdaptiveAvgPool):
        out = pool.output_shape(x)[2:]
        fits = all(n % m == 0 for n, m in zip(x[2:], out, strict=True))
        return "" if fits else f"{name} makes {by(*out)} tiles of {by(*x[2:])}: they differ in size"
    sizes = zip(x[2:], pool.output_shape(x)[2:], pool.windows(x), strict=True)
    beyond = any((m - 1) * w.stride + w.kernel > n + 2 * w.padding for n, m, w in sizes)
    if beyond:
        return f"{name} has windows that hang over the border (ceil_mode): the last ones are divided by fewer pixels"
    if any(w.padding for w in pool.windows(x)) and not pool.count_include_pad and not pool.divisor_override:
        return f"{name} does not count the padding: windows at the border are divided by fewer pixels"
    return ""


def _windows(pool: Any, x: tuple[int, ...]) -> tuple[Window, ...]:
    if isinstance(pool, AvgPool):
        return pool.windows(x)
    out = pool.output_shape(x)[2:] if isinstance(pool, AdaptiveAvgPool) else (1,) * (len(x) - 2)
    return tuple(Window(n // m, n // m) for n, m in zip(x[2:], out, strict=True))
