"""An image larger than memory, tile by tile: tiles of windows overlap by a window less one pixel, so no window is cut.

    cost       multiply-accumulates, numbers written and bytes held at once, for so many windows: from the shapes alone
    tiles      runs of windows whose maps fit into a bound on memory
    scan       every tile's scores, put together
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.fx import Node

from convscope.dense.axes import Grid
from convscope.dense.pieces import Grids
from convscope.dense.primitives import Conv
from convscope.dense.reading import Map, Reading, Step
from convscope.dense.steps import numbers
from convscope.dense.walk import last_uses

Span = tuple[int, int]  # windows [first, stop)
Progress = Callable[[int, int, str], None]
WRITE = 30  # what writing one number costs, in multiply-accumulates: a rough figure, for choosing only


@dataclass(frozen=True)
class Cost:
    """What a way of scanning takes."""

    macs: int
    written: int  # numbers
    peak: int  # bytes held at once

    @property
    def work(self) -> int:
        return self.macs + WRITE * self.written


def cost(reading: Reading, grids: Grids) -> Cost:
    """Of one pass over a tile."""
    count = grids[0].count * grids[1].count
    macs = {layer.node: layer.macs for layer in reading.net.layers}
    size = torch.finfo(reading.net.dtype).bits // 8
    last, held = last_uses(reading), dict[Node, int]()
    total = written = live = peak = 0
    for at, step in enumerate(reading.steps):
        mine = _numbers(step, grids, count)
        if step.kind == "window" and isinstance(step.operation, Conv):
            out: Map = step.facts["out"]
            total += step.operation.weight[0].numel() * _cells(out, grids) * out.lead[0]
        elif step.kind in ("row", "head"):
            total += count * macs.get(step.node.name, 0)
        written += mine
        if step.kind == "row":  # maps that windows shared so far are written out for each
            written += sum(count * numbers(a) for a in step.node.all_input_nodes if isinstance(reading.states.get(a), Map))
        held[step.node] = mine
        live += mine
        peak = max(peak, live + mine)  # what an operation gathers and pads is of its own size
        live -= sum(held.pop(node, 0) for node in last.get(at, ()))
    return Cost(total, written, peak * size)


def cost_of_loop(reading: Reading, grids: Grids) -> Cost:
    """Of every window by itself."""
    count = grids[0].count * grids[1].count
    layers = reading.net.layers
    numbers_ = sum(_product(layer.output_shape) for layer in layers) + _product(reading.net.input_shape)
    return Cost(count * sum(layer.macs for layer in layers), count * numbers_, 0)


def _product(shape: tuple[int, ...]) -> int:
    made = 1
    for n in shape:
        made *= n
    return made


def _cells(state: Map, grids: Grids) -> int:
    """How many positions a map has, over all windows and pieces."""
    sizes = [sum(grid.size(axis, part) for part in axis.parts) for grid, axis in zip(grids, state.axes, strict=True)]
    return sizes[0] * sizes[1]


def _numbers(step: Step, grids: Grids, count: int) -> int:
    """How many numbers a step writes."""
    if step.kind in ("same", "pick", "number"):
        return 0
    if step.kind == "window":
        out: Map = step.facts["out"]
        return _cells(out, grids) * _product(out.lead)
    if step.state == "row" or step.state is None:
        return count * numbers(step.node)
    states = step.state if isinstance(step.state, tuple) else (step.state,)
    return sum(_cells(state, grids) * _product(state.lead) for state in states)


def tiles(reading: Reading, grids: Grids, memory: int) -> list[tuple[Span, Span]]:
    """Runs of windows, down and across, whose maps take at most `memory` bytes; one window at least."""
    size = [grids[0].count, grids[1].count]
    while max(size) > 1:
        some = (Grid(size[0], grids[0].stride), Grid(size[1], grids[1].stride))
        if cost(reading, some).peak <= memory:
            break
        longer = 0 if size[0] >= size[1] else 1
        size[longer] = -(-size[longer] // 2)
    return [(rows, columns) for rows in _runs(grids[0].count, size[0]) for columns in _runs(grids[1].count, size[1])]


def _runs(count: int, size: int) -> Iterator[Span]:
    parts = -(-count // size)
    for k in range(parts):  # of equal length, so that no sliver is left at the end
        yield k * count // parts, (k + 1) * count // parts


Pass = Callable[[Tensor, Grids], Tensor]  # a tile of the image and its windows -> (P·Q, K)


@dataclass(frozen=True)
class Job:
    """What is done with each tile."""

    work: Pass
    margin: int = 0  # pixels beyond a window that its score reads
    read: Callable[[Tensor], Tensor] = torch.Tensor.clone  # (N, K) -> (N, k): what is kept of the scores
    progress: Callable[[int], None] | None = None  # told how many windows are done, tile by tile


def run(job: Job, reading: Reading, x: Tensor, grids: Grids, memory: int) -> Tensor:
    """(P, Q, k): what `job.read` keeps of the scores of every window of (C, H, W)."""
    kept: Tensor | None = None
    for rows, columns in tiles(reading, grids, memory):
        found = job.read(_tile(job, reading, x, (rows, columns), grids))
        height, width = rows[1] - rows[0], columns[1] - columns[0]
        if kept is None:
            kept = found.new_empty(grids[0].count, grids[1].count, found.shape[1])
        kept[rows[0] : rows[1], columns[0] : columns[1]] = found.unflatten(0, (height, width))
        if job.progress is not None:
            job.progress(height * width)
    assert kept is not None
    return kept


def _tile(job: Job, reading: Reading, x: Tensor, spans: tuple[Span, Span], grids: Grids) -> Tensor:
    wide: list[Span] = []
    for (first, stop), grid in zip(spans, grids, strict=True):
        extra = -(-job.margin // grid.stride)
        wide.append((max(first - extra, 0), min(stop + extra, grid.count)))
    part = tuple(Grid(stop - first, grid.stride) for (first, stop), grid in zip(wide, grids, strict=True))
    y, q = wide[0][0] * grids[0].stride, wide[1][0] * grids[1].stride
    high, long = ((g.count - 1) * g.stride + n for g, n in zip(part, reading.size, strict=True))
    scores = job.work(x[:, y : y + high, q : q + long], (part[0], part[1]))
    if wide == list(spans):
        return scores
    inner = [slice(span[0] - w[0], span[1] - w[0]) for span, w in zip(spans, wide, strict=True)]
    return scores.unflatten(0, (part[0].count, part[1].count))[inner[0], inner[1]].flatten(0, 1)
