"""One pass over a tile of the image: every step of a reading, for all its windows at once.

    scores = walk(reading, tile, (Grid(P), Grid(Q)))        # (P·Q, K), windows row by row

How a map is held is the *layout*'s business: `Pieces` (strides turned into dilation, or taken where the windows' own
stride allows; zones at the frame) or `fragments.Fragments`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.fx import Node

from convscope.dense import pieces, primitives
from convscope.dense.axes import Tap
from convscope.dense.pieces import Axes, Grids, Value
from convscope.dense.primitives import Operation
from convscope.dense.reading import Map, Reading, Step, call
from convscope.layers import op_name


class Layout(Protocol):
    """How maps of a tile are held, and the operations for which that makes a difference."""

    def image(self, x: Tensor, size: tuple[int, int], grids: Grids) -> Value: ...

    def windowed(self, operation: Operation, value: Value, taps: tuple[Tap, Tap], axes: Axes) -> Value: ...

    def head(self, value: Value, weight: Tensor, bias: Tensor | None) -> Tensor: ...

    def over_map(self, value: Value, how: str) -> Tensor: ...

    def rows(self, value: Value) -> Tensor: ...


class Pieces:
    """Shared maps with dilation, zones at the frame."""

    image = staticmethod(pieces.of_image)
    windowed = staticmethod(primitives.windowed)
    head = staticmethod(primitives.head)
    over_map = staticmethod(primitives.over_map)

    @staticmethod
    def rows(value: Value) -> Tensor:
        return value.rows()


_IN_PLACE: dict[str, Any] = {"relu": torch.relu_, "sigmoid": torch.sigmoid_, "tanh": torch.tanh_}


def walk(reading: Reading, x: Tensor, grids: Grids, layout: Layout) -> Tensor:
    """(P·Q, K) outputs of all windows of a tile (C, H, W), which must hold them all."""
    values: dict[Node, Any] = {reading.net.inputs[0]: layout.image(x, reading.size, grids)}
    count = grids[0].count * grids[1].count
    last = last_uses(reading)
    with torch.inference_mode(), torch.random.fork_rng(devices=[]):
        for at, step in enumerate(reading.steps):
            values[step.node] = _done(reading, step, values, (layout, count))
            for gone in last.get(at, ()):
                values.pop(gone, None)
        assert reading.result is not None
        return _plain(reading, values, reading.result, layout)


def _done(reading: Reading, step: Step, values: dict[Node, Any], how: tuple[Layout, int]) -> Any:
    layout, count = how
    node = step.node
    if step.kind == "number":
        if op_name(node) == "sym_size":
            return count if node.args[1] == 0 else node.meta["val"]
        return call(node, lambda n: _plain(reading, values, n, layout))
    if step.kind == "row":
        return _row(reading, step, values, layout)
    first = next(values[a] for a in node.all_input_nodes if a in values)
    if step.kind == "same":
        return first
    if step.kind == "pick":
        return first[step.facts["at"]]
    if step.kind == "head":
        return layout.head(first, step.facts["weight"], step.facts["bias"])
    if step.kind == "over":
        return layout.over_map(first, step.facts["how"]).reshape(count, *step.facts["shape"])
    if step.kind == "window":
        assert step.operation is not None
        assert step.taps is not None
        out: Map = step.facts["out"]
        made = layout.windowed(step.operation, first, step.taps, out.axes)
        return layout.rows(made) if step.state == "row" else made
    if step.kind == "join":
        several: Any = node.args[0]
        return pieces.concatenated([values[one] for one in several], step.state.axes, step.facts["at"])
    return _alike(reading, step, values)


def _row(reading: Reading, step: Step, values: dict[Node, Any], layout: Layout) -> Any:
    """An operation as the network itself does it, on a batch of windows; written over what nobody reads again."""
    node = step.node
    source = node.all_input_nodes[0]
    if op_name(node) in _IN_PLACE and source in reading.fresh:
        return _IN_PLACE[op_name(node)](values[source])
    return call(node, lambda n: _plain(reading, values, n, layout))


def _plain(reading: Reading, values: dict[Node, Any], node: Node, layout: Layout) -> Any:
    """A value as the network itself would have it, with one entry a window."""
    if node in reading.constants:
        return reading.constants[node]
    value = values[node]
    if isinstance(value, list):
        value = [layout.rows(one) for one in value]
    elif isinstance(value, Value):
        value = layout.rows(value)
        value = value.flatten(1) if reading.states[node].flat else value.contiguous()
    return value


def _alike(reading: Reading, step: Step, values: dict[Node, Any]) -> Any:
    """An operation that treats every position alike, piece by piece."""
    node = step.node
    if "reshape" in step.facts:
        value: Value = values[node.all_input_nodes[0]]
        return value.each(lambda piece: piece.reshape(*piece.shape[:4], *step.facts["reshape"]))
    if "scale" in step.facts:
        scale, shift = step.facts["scale"], step.facts["shift"]
        return values[node.all_input_nodes[0]].each(lambda piece: piece * scale + shift)
    live = [a for a in dict.fromkeys(node.all_input_nodes) if a in values]
    if op_name(node) in _IN_PLACE and live[0] in reading.fresh:
        return values[live[0]].each(_IN_PLACE[op_name(node)])
    state = step.state[0] if isinstance(step.state, tuple) else step.state
    cut = {one: values[one].cut(state.axes) for one in live}
    made: dict[Any, Any] = {}
    for pair, piece in cut[live[0]].pieces.items():
        held = {one: primitives.channels_first(value.pieces[pair]) for one, value in cut.items()}
        found = call(node, lambda n, held=held: held[n] if n in held else reading.constants[n])
        parts = found if isinstance(found, (tuple, list)) else [found]
        made[pair] = [primitives.channels_last(part, piece.shape[:2]) for part in parts]
    base = cut[live[0]]
    count = len(next(iter(made.values())))
    several = [replace(base, pieces={pair: parts[k] for pair, parts in made.items()}) for k in range(count)]
    return several if isinstance(step.state, tuple) else several[0]


def last_uses(reading: Reading) -> dict[int, list[Node]]:
    """After which step is a value no longer needed?"""
    last: dict[Node, int] = {}
    for at, step in enumerate(reading.steps):
        for argument in step.node.all_input_nodes:
            last[argument] = at
    found: dict[int, list[Node]] = {}
    for node, at in last.items():
        if node is not reading.result:
            found.setdefault(at, []).append(node)
    return found
