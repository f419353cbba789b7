"""Where the feature detector of a network ends, and the maps on the way to it.

A *neck* is a call through which every way from the image to the answer leads: no other value is carried past it. Between
the necks lie branches (the blocks of a residual network); maps for skips are taken at necks only.

A *level* is all necks of one resolution, and stands for one skip of a segmenter: where pooling leads to the level and out of
it, the pooled map (Long et al. 2015 score pool3 and pool4); elsewhere the last map, the deepest of that resolution.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn
from torch.fx import Node

from convscope.editing.any_size.kinds import ADAPTIVE, DENSE, RESHAPES, SUMS, base
from convscope.editing.draft import Draft
from convscope.errors import UsageError
from convscope.geometry import Field

_HEADS = RESHAPES | ADAPTIVE | DENSE | SUMS | {"permute", "transpose"}  # axes change places before they are flattened
_POOLS = {"MaxPool2d", "AvgPool2d", "max_pool2d", "avg_pool2d"}


@dataclass(frozen=True)
class Level:
    """One map to score: its node, and how its positions lie in the image, along height and width."""

    node: Node
    fields: tuple[Field, ...]

    @property
    def stride(self) -> tuple[int, ...]:
        """Pixels of the image from one position to the next."""
        return tuple(int(f.stride) for f in self.fields)

    @property
    def text(self) -> str:
        """'16', or '16×8' where height and width differ."""
        return "×".join(str(s) for s in dict.fromkeys(self.stride))


def live(node: Node) -> list[Node]:
    """The values that a call reads, weights and bare sizes left out."""
    return [a for a in node.all_input_nodes if a.op != "get_attr" and "sym_size" not in str(a.target)]


def ancestors(draft: Draft, end: Node) -> list[Node]:
    """The calls that `end` depends on, itself included, in the order in which they run."""
    wanted, open_ = {end}, [end]
    while open_:
        for a in live(open_.pop()):
            if a not in wanted:
                wanted.add(a)
                open_.append(a)
    return [n for n in draft.nodes if n in wanted]


def necks(draft: Draft, end: Node) -> list[Node]:
    """The calls through which all ways from the image to `end` lead, in order."""
    order = {n: i for i, n in enumerate([draft.input, *ancestors(draft, end)])}
    found: list[Node] = []
    reach = 0  # how far ahead a value of an earlier call is read
    for node, i in order.items():
        if reach <= i and node is not draft.input:
            found.append(node)
        reach = max([reach, *(order[u] for u in node.users if u in order)])
    return found


def last_map(draft: Draft, upto: str = "") -> Node:
    """Where the encoder ends: at `upto`, or at the last map before the head (flatten, pooling over all positions, dense).

    Errors: UnknownName, UsageError (no layer has maps).
    """
    if upto:
        return draft[upto]
    found = None
    for node in necks(draft, draft.output):
        module = draft.module(node) if node.op == "call_module" else None
        if base(draft, node) in _HEADS or not is_map(draft, node):
            break
        if not isinstance(module, (nn.Dropout, nn.Dropout2d)):
            found = node
    if found is None:
        raise UsageError(f"{draft.net.name} has no maps before its head", _first(draft),
                         "say where the encoder ends: upto=LAYER; `convscope trace` lists all")
    return found


def is_map(draft: Draft, node: Node) -> bool:
    """Is its value (C, h, w)?"""
    size = node.meta.get("shape")
    return bool(size) and isinstance(size[0], int) and len(draft.shape(node)) == 3


def _first(draft: Draft) -> str:
    node = next(n for n in draft.nodes if n.meta.get("shape"))
    size = node.meta.get("shape")
    shown = "×".join(map(str, size[1:])) if size and isinstance(size[0], int) else "several values"
    return f"its first layer, {draft.address(node)}, gives {shown}"


def levels(draft: Draft, end: Node) -> list[Level]:
    """The maps to score, one a stride, the finest first; the last one is `end`. Errors: UsageError (sizes unknown)."""
    way = [Level(n, fields_of(draft, n)) for n in necks(draft, end) if is_map(draft, n) and _has_fields(draft, n)]
    last = Level(end, fields_of(draft, end))
    groups: dict[tuple[int, ...], list[int]] = {}
    for at, level in enumerate(way):
        groups.setdefault(level.stride, []).append(at)
    groups.pop(last.stride, None)
    chosen: list[Level] = []
    for group in groups.values():
        behind = way[min(group[-1] + 1, len(way) - 1)].node  # leads to the next level
        pooled = base(draft, way[group[0]].node) in _POOLS and base(draft, behind) in _POOLS
        chosen.append(way[group[0] if pooled else group[-1]])
    return [*chosen, last]


def _has_fields(draft: Draft, node: Node) -> bool:
    address = draft.address(node)
    fields = draft.net[address].fields if address in draft.net else None
    return fields is not None and len(fields) == 2 and all(f.centre is not None for f in fields)


def fields_of(draft: Draft, node: Node) -> tuple[Field, ...]:
    """The receptive fields of a node of the network as it was opened. Errors: UsageError where nobody knows them."""
    address = draft.address(node)
    if not _has_fields(draft, node):
        raise UsageError(f"where the positions of {address} lie in the image", "its receptive field is not known",
                         "end the encoder earlier: upto=LAYER")
    fields = draft.net[address].fields
    assert fields is not None
    return fields
