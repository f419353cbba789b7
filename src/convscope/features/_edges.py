"""The weighted edges of the graph of units: into a unit, or out of it."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from convscope import learned
from convscope.addresses import Unit
from convscope.errors import UsageError, unknown
from convscope.features._given import Given
from convscope.features._responding import checked
from convscope.features._wiring import Array, Numbers, Stream, Wiring, shape
from convscope.network import Network
from convscope.results import Layer

COLOURS = ("red", "green", "blue")
SUMMED = "a sum is read: each of its writers is listed, with the same slice times its own scale"
_KEEPING_MEANS = ("flatten", "reshape", "dropout")


@dataclass(frozen=True)
class Made:
    """The layer with weights that makes a unit, and what the batch norms up to the address that was asked about
    multiply."""

    address: str
    unit: int | None
    scale: Array  # (U,) or (1,)
    note: str = ""


@dataclass(frozen=True)
class Group:
    """All edges from one layer into another: `weights` (U, C, h, w) of the units `readers`."""

    writer: str
    reader: str
    weights: Array
    readers: Numbers  # (U,)
    at: Numbers  # (n,) row of `weights`
    channel: Numbers  # (n,) slice of it
    unit: Numbers  # (n,) of the writer
    scale: Array  # (n,) of batch norms and signs
    contribution: Array  # (n,) NaN where no sweep says

    @functools.cached_property
    def norm(self) -> Array:
        squares = np.einsum("uchw,uchw->uc", self.weights, self.weights)
        return np.sqrt(squares)[self.at, self.channel] * np.abs(self.scale)

    @functools.cached_property
    def sum(self) -> Array:
        return self.weights.sum((2, 3))[self.at, self.channel] * self.scale


@dataclass(frozen=True)
class Edges:
    """Connections, group after group."""

    groups: tuple[Group, ...]
    lacking: str = ""  # why contributions are unknown
    notes: tuple[str, ...] = ()

    def numbers(self, what: str) -> Array:
        """(n,) 'norm', 'sum', 'scale' or 'contribution' of every connection."""
        return np.concatenate([getattr(group, what) for group in self.groups])

    def tiles(self, chosen: Numbers) -> tuple[Array, str]:
        """(n, h, w) of one size, smaller slices in the middle of zeros; and whether there were any."""
        kept = [g.weights[g.at[i], g.channel[i]] * g.scale[i] for g, i in map(self._find, chosen)]
        height, width = (max((s.shape[axis] for s in kept), default=1) for axis in (0, 1))
        found = np.zeros((len(kept), height, width))
        for tile, part in zip(found, kept, strict=True):
            y, x = (height - part.shape[0]) // 2, (width - part.shape[1]) // 2
            tile[y : y + part.shape[0], x : x + part.shape[1]] = part
        uneven = any(s.shape != (height, width) for s in kept)
        return found, "smaller kernels stand in the middle of zeros" if uneven else ""

    def names(self, net: Network, chosen: Numbers, side: str) -> tuple[str, ...]:
        """The unit at the other end; of a whole layer both, the layer itself left out: side 'in layer', 'out layer'."""
        found: list[str] = []
        for g, i in map(self._find, chosen):
            writer, unit, reader = name_of(net, g.writer, int(g.unit[i])), int(g.unit[i]), int(g.readers[g.at[i]])
            found.append({"in": writer, "out": f"{g.reader}/{reader}", "in layer": f"{writer} → {reader}",
                          "out layer": f"{unit} → {g.reader}/{reader}"}[side])
        return tuple(found)

    def _find(self, at: int) -> tuple[Group, int]:
        for group in self.groups:
            if at < len(group.at):
                return group, at
            at -= len(group.at)
        raise IndexError(at)


def made_by(wiring: Wiring, unit: Unit) -> Made:
    """The unit with weights behind this address. Errors: UsageError where several are summed, UnknownName for none."""
    net, layer = wiring.net, wiring.net[unit.layer]
    weighted = [one.address for one in net.layers if learned.weight(net, one) is not None]
    if layer.address in weighted:
        return Made(layer.address, unit.channel, np.ones(1))
    streams = wiring.streams(wiring.node(layer.address))
    if unit.channel is None:
        writers = list(dict.fromkeys(s.address for s in streams))
        whole = len(streams) == 1 and writers[0] in weighted and bool((streams[0].channel == streams[0].unit).all())
        if whole:
            return Made(writers[0], None, streams[0].scale, f"{layer.address} is made by {writers[0]}")
        raise UsageError(f"{layer.address} has no weights of its own", f"it is made by {', '.join(writers)}",
                         "ask about one of its units, or about one of these")
    own = [(s, np.flatnonzero(s.channel == unit.channel)) for s in streams]
    ends = [(s.address, int(s.unit[at]), float(s.scale[at])) for s, places in own for at in places]
    if len(ends) > 1:
        raise UsageError(f"{unit} sums {len(ends)} units", ", ".join(f"{a}/{u}" for a, u, _ in ends[:4]),
                         "ask about one of these")
    if not ends or ends[0][0] not in weighted:
        raise unknown("unit with weights", str(unit), weighted, "ask about a unit of a convolution or dense layer")
    address, number, scale = ends[0]
    return Made(address, number, np.array([scale]), f"{unit} is {address}/{number}" + (
        f" through batch norm (times {scale:.3g})" if scale != 1 else ""))


def into(wiring: Wiring, made: Made, given: Given) -> Edges:
    """Who feeds the unit (or, of a layer, who feeds whom)?"""
    layer = wiring.net[made.address]
    if not _followed(wiring, layer):
        raise UsageError(f"{made.address} reads features that stand last", "they are no channels that could be followed",
                         "choose a convolution, or a dense layer behind a vector")
    count = len(_weight(wiring, layer))
    units = np.arange(count) if made.unit is None else np.array([made.unit])
    own = np.broadcast_to(made.scale, len(units))
    groups, lacking = _groups(wiring, layer, (units, own), _read(wiring, layer), given)
    writers = ", ".join(dict.fromkeys(g.writer for g in groups))
    read = sum(len(g.at) for g in groups)
    shared = read > len(units) * groups[0].weights.shape[1]
    return Edges(groups, lacking, (made.note, f"read from: {writers}", SUMMED if shared else "", lacking))


def out_of(wiring: Wiring, made: Made, given: Given) -> Edges:
    """Whom does the unit (or, of a layer, who of it whom) feed?"""
    found: list[Group] = []
    lackings: list[str] = []
    lost: list[str] = []
    for layer in wiring.net.layers:
        if learned.weight(wiring.net, layer) is None or layer.address == made.address:
            continue
        if not _followed(wiring, layer):
            lost.append(layer.address)
            continue
        fed = [_only(s, made.unit) for s in _read(wiring, layer) if s.address == made.address]
        if any(len(s.unit) for s in fed):
            units = np.arange(len(_weight(wiring, layer)))
            groups, lacking = _groups(wiring, layer, (units, np.ones(len(units))), tuple(fed), given)
            found += groups
            lackings.append(lacking)
    if not found:
        raise UsageError(f"{made.address} feeds no layer with weights", "it is the last, or its readers cannot be followed",
                         "ask with direction='in'")
    readers = ", ".join(dict.fromkeys(g.reader for g in found))
    lacking = next((one for one in lackings if one), "")
    missed = f"not looked at, for they read features that stand last: {', '.join(lost)}" if lost else ""
    return Edges(tuple(found), lacking, (made.note, f"read by: {readers}", missed, lacking))


def _groups(wiring: Wiring, layer: Layer, units: tuple[Numbers, Array], streams: tuple[Stream, ...],
            given: Given) -> tuple[tuple[Group, ...], str]:
    """The edges into some units of a layer, each with a factor of its own, from these streams."""
    readers, own = units
    weights, first = _slices(wiring, layer, readers)
    means, lacking = _means(wiring.net, layer, given)
    sums = weights.sum((2, 3))
    found: list[Group] = []
    for s in streams:
        place = s.channel[None] - first[:, None]  # (U, n): which slice of the unit's reads this channel
        at, k = np.nonzero((place >= 0) & (place < weights.shape[1]))
        channel = place[at, k]
        mean = np.full(len(at), np.nan) if means is None else sums[at, channel] * own[at] * means[s.channel[k]]
        found.append(Group(s.address, layer.address, weights, readers, at, channel, s.unit[k], s.scale[k] * own[at], mean))
    return tuple(found), lacking


def _weight(wiring: Wiring, layer: Layer) -> Tensor:
    weight = learned.weight(wiring.net, layer)
    assert weight is not None
    return weight


def _slices(wiring: Wiring, layer: Layer, units: Numbers) -> tuple[Array, Numbers]:
    """(U, C, h, w) weights with the features of a flattened map as slices, and the first input channel of each unit's
    group."""
    weight = _weight(wiring, layer)
    array = weight[torch.from_numpy(units)].double().cpu().numpy()
    if array.ndim == 5:
        raise UsageError(f"the filters of {layer.address} have three axes", f"their shape is {array.shape[1:]}",
                         "choose a 2-D convolution")
    if array.ndim == 2:
        return array.reshape(len(array), *wiring.grid(wiring.reads(layer.address))), np.zeros(len(array), np.int64)
    groups = int(layer.settings.get("groups", 1))
    return array[:, :, None] if array.ndim == 3 else array, units // (len(weight) // groups) * array.shape[1]


def _followed(wiring: Wiring, layer: Layer) -> bool:
    """Does axis 1 of what this layer reads count its inputs?"""
    return layer.operator != "linear" or len(shape(wiring.reads(layer.address))) == 2


def _read(wiring: Wiring, layer: Layer) -> tuple[Stream, ...]:
    """Who wrote the channels that this layer reads; those of a flattened map, one by one."""
    value = wiring.reads(layer.address)
    streams = wiring.streams(value)
    if layer.operator != "linear":
        return streams
    _, height, width = wiring.grid(value)
    each = height * width
    kept = [(s, s.channel % each == 0) for s in streams]
    return tuple(Stream(s.address, s.channel[k] // each, s.unit[k], s.scale[k]) for s, k in kept)


def _only(stream: Stream, unit: int | None) -> Stream:
    kept = np.ones(len(stream.unit), bool) if unit is None else stream.unit == unit
    return Stream(stream.address, stream.channel[kept], stream.unit[kept], stream.scale[kept])


def _means(net: Network, layer: Layer, given: Given) -> tuple[Array | None, str]:
    """(C,) mean over a sweep of each channel that a layer reads, or why there is none."""
    if given.record is None:
        return None, "contributions unknown: no sweep was given"
    record = given.record
    checked(net, record)
    before = layer.parents[0]
    while before not in ("input", *record.facts.layers) and net[before].operator in _KEEPING_MEANS:
        before = net[before].parents[0]
    total = record.tally(before).tree.total() if before in record.facts.layers else None
    return (None, f"contributions unknown: the sweep has no means of {before}") if total is None else (total["mean"], "")


def name_of(net: Network, address: str, unit: int) -> str:
    """'conv1/3'; of a colour image 'input/red'."""
    if address == "input" and net.input_shape[1] == 3 and len(net.input_shape) == 4:
        bgr = net.preprocess is not None and net.preprocess.channels == "BGR"
        return f"input/{COLOURS[2 - unit if bgr else unit]}"
    return f"{address}/{unit}"
