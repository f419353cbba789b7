"""The cheapest exact way to scan, or the reason why the one that was asked for will not do.

    way         what is shared                                                        exact
    windows     nothing: the loop over windows, in batches                            always
    coarse      all; strides stay strides: the fully convolutional pass               without padding; at its stride
    dilated     all; strides become dilations (à trous)                               without padding
    fragments   all; strides leave shifted fragments                                  without padding; stride 1
    zones       all that does not feel a window's frame, which is kept for each       always
    context     all; a window's padding is replaced by the pixels around it           no; the difference is said

`auto` takes coarse where the stride allows, else dilated or fragments, whichever is faster on this machine in a short trial
(once a network and run), where nothing is padded; else zones or windows, whichever costs less by count.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass

import torch

from convscope.dense import reading as reader
from convscope.dense import tiles, window
from convscope.dense.axes import Grid
from convscope.dense.fragments import Fragments
from convscope.dense.pieces import Grids
from convscope.dense.reading import Reading
from convscope.dense.tiles import Pass
from convscope.dense.walk import Layout, Pieces, walk
from convscope.errors import UsageError
from convscope.network import Network

WAYS = ("auto", "windows", "coarse", "dilated", "fragments", "zones", "context")
WORTH = 0.9  # zones that save less than a tenth of the work are a window loop with detours
TRIAL = 128  # windows on a side of a self-timing
_FASTER: weakref.WeakKeyDictionary[Network, str] = weakref.WeakKeyDictionary()


@dataclass(frozen=True)
class Way:
    """How a network is scanned."""

    name: str
    reading: Reading
    work: Pass
    notes: tuple[str, ...] = ()

    @property
    def margin(self) -> int:
        return self.reading.overhang if self.name == "context" else 0

    @property
    def exact(self) -> bool:
        return self.name != "context"


def choose(net: Network, asked: str, grids: Grids) -> Way:
    """The way for windows on these grids. Errors: UsageError with the layer that forbids what was asked for."""
    reading = reader.read(net)
    if asked == "windows" or (asked == "auto" and net.batch is not None):
        return _loop(reading, grids)
    if net.batch is not None:
        raise UsageError(f"the way {asked!r} runs all windows of a tile at once",
                         f"{net.name} takes batches of {net.batch} only", "use the way 'windows'")
    if asked == "auto":
        return _cheapest(reading, grids)
    if asked == "context":
        _refuse(asked, [str(barrier) for barrier in reading.barriers], "use the way 'windows', which is always exact")
        return _shared("context", reader.read(net, context=True), Pieces)
    if asked == "zones":
        return _zones(reading, grids, insisted=True)
    _refuse(asked, [str(barrier) for barrier in reading.barriers], "use the way 'windows', which is always exact")
    _refuse(asked, [str(layer) for layer in reading.padded],
            "the way 'zones' is exact; 'context' takes the pixels around a window for its padding")
    stride = tuple(grid.stride for grid in grids)
    if asked == "coarse" and not _coarse(reading, grids):
        raise UsageError("the fully convolutional pass scores windows at the network's own stride",
                         f"that is {'×'.join(map(str, reading.strides))}, the scan's is {stride[0]}",
                         f"use a multiple of {max(reading.strides)} as stride, or another way")
    if asked == "fragments" and stride != (1, 1):
        raise UsageError("fragments hold the windows at every pixel", f"the stride is {stride[0]}",
                         "use stride 1, or the way 'dilated'")
    return _shared(asked, reading, (lambda: Fragments(reading.strides)) if asked == "fragments" else Pieces)


def _refuse(asked: str, reasons: list[str], remedy: str) -> None:
    if reasons:
        more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
        raise UsageError(f"the way {asked!r} is not for this network", f"{reasons[0]}{more}", remedy)


def _shared(name: str, reading: Reading, layout: Callable[[], Layout]) -> Way:
    return Way(name, reading, lambda x, grids: walk(reading, x, grids, layout()))


def _loop(reading: Reading, grids: Grids, why: str = "") -> Way:
    def work(x: torch.Tensor, part: Grids) -> torch.Tensor:
        return window.loop(reading.net, x, part)

    count = grids[0].count * grids[1].count
    macs = tiles.cost_of_loop(reading, grids).macs
    note = f"{count:,} windows one by one, {macs:.3g} multiply-accumulates{why}"
    return Way("windows", reading, work, (note,))


def _coarse(reading: Reading, grids: Grids) -> bool:
    return all(grid.stride % s == 0 for grid, s in zip(grids, reading.strides, strict=True)) and grids[0].stride > 1


def _cheapest(reading: Reading, grids: Grids) -> Way:
    if not reading.local:
        return _zones(reading, grids, insisted=False)
    if _coarse(reading, grids):
        return _shared("coarse", reading, Pieces)
    if any(grid.stride > 1 for grid in grids) or max(reading.strides) == 1:
        return _shared("dilated", reading, Pieces)
    ways = {"dilated": _shared("dilated", reading, Pieces),
            "fragments": _shared("fragments", reading, lambda: Fragments(reading.strides))}
    if reading.net not in _FASTER:
        _FASTER[reading.net] = min(ways, key=lambda name: _timed(ways[name], grids))
    return ways[_FASTER[reading.net]]


def _timed(way: Way, grids: Grids) -> float:
    """Seconds for a small square of windows, the best of three."""
    some = tuple(Grid(min(grid.count, TRIAL), grid.stride) for grid in grids)
    shape = [grid.count - 1 + n for grid, n in zip(some, way.reading.size, strict=True)]
    net = way.reading.net
    x = torch.zeros(net.input_shape[1], *shape, dtype=net.dtype, device=net.device)
    took: list[float] = []
    for _ in range(3):
        began = time.perf_counter()
        way.work(x, (some[0], some[1]))
        if net.device.type == "cuda":
            torch.cuda.synchronize(net.device)
        took.append(time.perf_counter() - began)
    return min(took)


def _zones(reading: Reading, grids: Grids, insisted: bool) -> Way:
    """Zones where they save work, else the loop."""
    ours, loops = tiles.cost(reading, grids), tiles.cost_of_loop(reading, grids)
    reason = str(reading.barriers[0]) if reading.barriers else str(reading.padded[0]) if reading.padded else ""
    if ours.work < WORTH * loops.work:
        found = _shared("zones", reading, Pieces)
        shares = f"{ours.macs / max(loops.macs, 1):.2g} of the window loop's multiply-accumulates"
        ends = f"; every window by itself from where {reading.barriers[0]}" if reading.barriers else ""
        return Way("zones", reading, found.work, (f"the windows' own padding is kept exactly: {shares}{ends}",))
    if insisted:
        raise UsageError("the way 'zones' would save nothing here",
                         f"{reason}; its work is {ours.work / loops.work:.2g} of the window loop's",
                         "use the way 'windows', or a larger stride")
    return _loop(reading, grids, f", as sharing would save nothing: {reason}")
