"""How each operation is run again on rectangles of its map.

A rule gets the call, its arguments as values of the clean pass, and `State`s where an argument has changed; it answers with
the new state, or None where the operation must be run on whole maps. A window operation reads crops: rows (C,) picked from
the clean map, padding where they lie outside, and the changed rectangles written over them; so halo, padding, `ceil_mode`
overhang and every change's own place are only indices. The operation itself is then an ordinary one on crops of equal size,
without padding.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from convscope.geometry import Window
from convscope.incremental.regions import Region

Rule = Callable[..., Any]
FULL = 0.8  # a region that covers this share of a map is run on the whole map


@dataclass
class State:
    """A value that changed: rectangles `patch` (P, C, rh, rw) at `region`, or whole maps (P, …) where region is None."""

    patch: Tensor
    region: Region | None


def conv(clean: Tensor | None, state: State, out: tuple[int, ...], weight: Tensor, bias: Tensor | None, stride: Any,
         padding: Any, dilation: Any, groups: int) -> State | None:
    """A convolution on crops: exact, since a crop holds every pixel that its outputs read. `clean` None: 0 outside."""
    if isinstance(padding, str):
        return None
    windows = windows_of(weight.shape[2:], stride, padding, dilation)
    found = through(state, windows, out)
    if found is None:
        return None
    if _pointwise(windows):
        return State(F.conv2d(state.patch, weight, bias, groups=groups), state.region)
    crop = read(clean, state, found, windows, 0.0)
    return State(F.conv2d(crop, weight, bias, list(pair(stride)), 0, list(pair(dilation)), groups), found)


def max_pool(clean: Tensor, state: State, out: tuple[int, ...], kernel: Any, stride: Any = (), padding: Any = 0,
             dilation: Any = 1, ceil_mode: bool = False) -> State | None:
    """Max pooling: what lies outside the map is −∞."""
    del ceil_mode  # output sizes come from the clean pass; what hangs over is padding
    windows = windows_of(pair(kernel), stride or kernel, padding, dilation)
    found = through(state, windows, out)
    if found is None:
        return None
    crop = read(clean, state, found, windows, -math.inf)
    return State(F.max_pool2d(crop, pair(kernel), pair(stride or kernel), 0, pair(dilation)), found)


def avg_pool(clean: Tensor, state: State, out: tuple[int, ...], kernel: Any, stride: Any = (), padding: Any = 0,
             ceil_mode: bool = False, count_include_pad: bool = True, divisor_override: int | None = None) -> State | None:
    """Average pooling: sums over crops, divided by what PyTorch divides by at each position."""
    windows = windows_of(pair(kernel), stride or kernel, padding, 1)
    found = through(state, windows, out)
    if found is None:
        return None
    sums = F.avg_pool2d(read(clean, state, found, windows, 0.0), pair(kernel), pair(stride or kernel), divisor_override=1)
    if divisor_override is not None:
        return State(sums / divisor_override, found)
    ones = torch.ones((1, 1, *clean.shape[2:]), dtype=clean.dtype)
    share = F.avg_pool2d(ones, pair(kernel), pair(stride or kernel), pair(padding), ceil_mode, count_include_pad)
    count = F.avg_pool2d(read(ones, None, found, windows, 0.0), pair(kernel), pair(stride or kernel), divisor_override=1)
    # share = (pixels under the window)/divisor, count = pixels under the window
    scale = gather(share, None, found, 0.0) / count
    return State(sums * scale, found)


def merge(clean: list[Tensor], states: list[State | None], sizes: tuple[int, int]) -> tuple[list[Tensor], Region] | None:
    """Several maps that meet, cut to the hull of what changed in any of them; None where one is changed as a whole."""
    regions = [s.region for s in states if s is not None]
    if any(r is None for r in regions):
        return None
    hull = regions[0]
    assert hull is not None
    for other in regions[1:]:
        assert other is not None
        if other.dims != hull.dims:
            return None
        hull = hull if hull.same(other) else hull.hull(other, sizes)
    if hull.covers(*sizes) >= FULL:
        return None
    parts: list[Tensor] = []
    for value, state in zip(clean, states, strict=True):
        alike = state is not None and state.region is not None and state.region.same(hull)
        parts.append(state.patch if alike and state is not None else gather(value, state, hull, 0.0))
    return parts, hull


def whole(clean: Tensor, state: State | None, count: int) -> Tensor:
    """A value as whole maps (P, …): the clean one with the changed rectangles put in."""
    if state is None:
        return clean.expand(count, *clean.shape[1:])
    if state.region is None:
        return state.patch
    region, (dy, dx) = state.region, state.region.dims
    full = clean.repeat(count, *(1,) * (clean.ndim - 1))
    full = full.contiguous(memory_format=torch.channels_last) if clean.ndim == 4 and region.dims == (2, 3) else full
    for i, (y, x) in enumerate(zip(region.y.start.tolist(), region.x.start.tolist(), strict=True)):
        full[i].narrow(dy - 1, y, region.y.size).narrow(dx - 1, x, region.x.size).copy_(state.patch[i])
    return full


def gather(clean: Tensor | None, state: State | None, region: Region, pad: float) -> Tensor:
    """The crops (P, C, rh, rw) of `region` from the clean map (None: `pad` everywhere) and what changed in it."""
    y = region.y.start[:, None] + np.arange(region.y.size)
    x = region.x.start[:, None] + np.arange(region.x.size)
    return _rows(clean, state, y, x, pad, region.dims)


def read(clean: Tensor | None, state: State | None, out: Region, windows: tuple[Window, Window], pad: float) -> Tensor:
    """The crops that the outputs in `out` read."""
    axes: list[Any] = []
    for span, w in zip((out.y, out.x), windows, strict=True):
        length = (span.size - 1) * w.stride + w.dilation * (w.kernel - 1) + 1
        axes.append((span.start * w.stride - w.padding)[:, None] + np.arange(length))
    return _rows(clean, state, axes[0], axes[1], pad, (2, 3))


def _rows(clean: Tensor | None, state: State | None, y: Any, x: Any, pad: float, dims: tuple[int, int]) -> Tensor:
    """Crops at rows y (P, ih) and columns x (P, iw) of every change, in the layout of `dims`."""
    shape = (len(y), y.shape[1], x.shape[1])
    if clean is None:
        assert state is not None
        channels = state.patch.shape[1 if dims == (2, 3) else 3]
        rows = state.patch.new_full((shape[0] * shape[1] * shape[2], channels), pad)
    else:
        first = clean.permute(0, 2, 3, 1) if dims == (2, 3) else clean  # (1, H, W, C)
        _, height, width, channels = first.shape
        outside = ((y < 0) | (y >= height))[:, :, None] | ((x < 0) | (x >= width))[:, None, :]
        index = np.clip(y, 0, height - 1)[:, :, None] * width + np.clip(x, 0, width - 1)[:, None, :]
        rows = first.reshape(-1, channels).index_select(0, torch.from_numpy(index.reshape(-1)))
        if outside.any():
            rows.index_fill_(0, torch.from_numpy(np.flatnonzero(outside)), pad)
    if state is not None:
        region = state.region
        assert region is not None
        ry, rx = y - region.y.start[:, None], x - region.x.start[:, None]
        changed = ((ry >= 0) & (ry < region.y.size))[:, :, None] & ((rx >= 0) & (rx < region.x.size))[:, None, :]
        source = (np.arange(len(y))[:, None, None] * region.y.size + ry[:, :, None]) * region.x.size + rx[:, None, :]
        patch = (state.patch.permute(0, 2, 3, 1) if dims == (2, 3) else state.patch).reshape(-1, channels)
        here, there = np.flatnonzero(changed), source[changed]
        whole = len(there) == len(patch)  # every changed number is in a crop, in the order of the rectangles
        taken = patch if whole else patch.index_select(0, torch.from_numpy(there))
        rows.index_copy_(0, torch.from_numpy(here), taken)
    crop = rows.view(*shape, channels)
    return crop.permute(0, 3, 1, 2) if dims == (2, 3) else crop


def through(state: State, windows: tuple[Window, Window], out: tuple[int, ...]) -> Region | None:
    """The region of the output, None where it is so large that whole maps are cheaper."""
    region = state.region
    if region is None or region.dims != (2, 3):
        return None
    found = Region(region.y.through(windows[0], out[2]), region.x.through(windows[1], out[3]))
    return None if found.covers(out[2], out[3]) >= FULL else found


def windows_of(kernel: Any, stride: Any, padding: Any, dilation: Any) -> tuple[Window, Window]:
    """A window operation's windows along height and width."""
    facts = list(zip(pair(kernel), pair(stride), pair(padding), pair(dilation), strict=True))
    return Window(*facts[0]), Window(*facts[1])


def _pointwise(windows: tuple[Window, Window]) -> bool:
    return all(w.kernel == 1 and w.stride == 1 and w.padding == 0 for w in windows)


def pair(value: Any) -> tuple[int, int]:
    if isinstance(value, int):
        return value, value
    numbers = tuple(int(n) for n in value)
    return (numbers[0], numbers[0]) if len(numbers) == 1 else (numbers[0], numbers[1])

