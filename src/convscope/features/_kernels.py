"""The kernels of a layer as arrays, and one plane (h, w) of each: what the questions about filters share.

    grey         t[i, j] = Σ_c w[c, i, j]                 what the filter gives for a grey image (R = G = B)
    strongest    t[i, j] = w[c*, i, j]                    c* = argmax_c ‖w[c]‖₂
    principal    t = s·v,  w[c] ≈ a[c]·s·v                first singular pair over channels; the largest |a[c]| counts plus
    norm         t[i, j] = √Σ_c w[c, i, j]²               the signs are lost
    channel      t[i, j] = w[c, i, j]                     a channel of your choice

Torch's convolution is a correlation: the kernel as it is drawn is the pattern that it answers most strongly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convscope import addresses, learned
from convscope.errors import UnknownName, UsageError
from convscope.network import Network
from convscope.results import Layer

Array = NDArray[np.float64]
VIEWS = ("auto", "grey", "strongest", "principal", "norm", "channel")


@dataclass(frozen=True)
class Kernels:
    """The filters that were asked about."""

    layer: Layer
    weights: Array  # (U, C, h, w)
    units: NDArray[np.int64]  # (U,) their numbers in the layer
    on_image: bool  # they lie directly on the image
    notes: tuple[str, ...] = ()


def asked(net: Network, target: str) -> addresses.Unit:
    """A layer's or unit's address that this network has. Errors: UnknownName."""
    found = addresses.Unit(target) if target in net or "/" not in target else net.unit(target)
    return addresses.Unit(net[found.layer].address, found.channel, found.position)


def kernels(net: Network, target: str, most: int) -> Kernels:
    """The filters of a layer, or of one of its units; the first `most` of them."""
    unit = asked(net, target)
    layer = net[unit.layer]
    weights, on_image = learned.filters(net, layer)
    if unit.channel is not None:
        return Kernels(layer, weights[[unit.channel]], np.array([unit.channel]), on_image)
    notes = (f"the first {most} of {len(weights)} units",) if len(weights) > most else ()
    return Kernels(layer, weights[:most], np.arange(min(most, len(weights))), on_image, notes)


def patterned(found: Kernels, least: int) -> None:
    """Refuse kernels that are too small to hold a pattern."""
    size = found.weights.shape[2:]
    if min(size) < least or max(size) < 2:
        raise UsageError(f"the kernels of {found.layer.address} are {size[0]}×{size[1]}", "too small to hold a pattern",
                         f"choose a layer whose kernels are at least {max(least, 2)}×{max(least, 2)}")


@dataclass(frozen=True)
class Planes:
    """One plane of each filter."""

    values: Array  # (U, h, w)
    share: Array  # (U,) share of the filter's squared weights that the plane holds, 0 … 1
    channel: NDArray[np.int64] | None  # (U,) the input channel that it is, where it is one
    note: str


def planes(found: Kernels, view: str, channel: int) -> Planes:
    """See the formulas above; 'auto' is 'principal' for filters on a colour image and 'strongest' deeper."""
    w = found.weights
    count = w.shape[1]
    energy = (w**2).sum((1, 2, 3))
    if view == "auto":
        view = "principal" if found.on_image and count > 1 else "strongest"
    which: NDArray[np.int64] | None = None
    if view in ("strongest", "channel"):
        if view == "channel" and channel >= count:
            raise UnknownName(f"no input channel {channel} in {found.layer.address}", f"each filter reads {count}",
                              f"use 0 … {count - 1}")
        which = (w**2).sum((2, 3)).argmax(1) if view == "strongest" else np.full(len(w), channel)
        values = w[np.arange(len(w)), which]
        held = (values**2).sum((1, 2))
        note = f"plane: of {count} input channels the one with the largest weights" if view == "strongest" else (
            f"plane: input channel {channel} of {count}")
    elif view == "grey":
        values = w.sum(1)
        held = (values**2).sum((1, 2)) / count
        note = f"plane: sum over {count} input channels, the answer to a grey image"
    elif view == "norm":
        values, held = np.sqrt((w**2).sum(1)), energy
        note = f"plane: root of the sum of squares over {count} input channels; signs are lost"
    else:
        values, held = _principal(w)
        note = f"plane: the pattern that the {count} input channels share most of"
    share = np.divide(held, energy, out=np.zeros_like(held), where=energy > 0)
    return Planes(values, share, which, note if count > 1 else "")


def _principal(w: Array) -> tuple[Array, Array]:
    """(U, h, w) s·v and (U,) s²; the sign is that of the channel with the largest weight on it."""
    a, s, v = np.linalg.svd(w.reshape(*w.shape[:2], -1), full_matrices=False)
    first = a[:, :, 0]
    sign = np.sign(np.take_along_axis(first, np.abs(first).argmax(1)[:, None], 1))[:, 0]
    return (v[:, 0] * (s[:, 0] * sign)[:, None]).reshape(len(w), *w.shape[2:]), s[:, 0] ** 2
