"""The calls of a classifier's maps that stay, and where several values meet: sums, concatenations, slices, enlarging."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch.fx import Node

from convscope.editing import parts
from convscope.editing.any_size import kinds
from convscope.editing.any_size.forms import IMAGE, Form

if TYPE_CHECKING:
    from convscope.editing.any_size.freeing import Walk


class Staying:
    """Rules of a `Walk`: each gets the call, the value it reads and that value's form, and gives the form of the result."""

    def __init__(self, walk: Walk) -> None:
        self.walk, self.draft = walk, walk.draft

    def mapped(self, node: Node, value: Node, form: Form) -> Form:
        pads = kinds.base(self.draft, node) in {"pad", "constant_pad_nd"}
        if not pads:
            self.mapping(node, value)
            return Form.of(node.meta["shape"])
        self.walk.keep(node, value, form)
        return Form.of(node.meta["shape"], form.order if form.natural else IMAGE)

    def mapping(self, node: Node, value: Node) -> Node:
        """The call stays, on its value as (B, C, h, w)."""
        now = self.walk.on_map(node, value)
        self.walk.rewire(node)
        node.replace_input_with(self.walk.at.get(value, value), now)
        return now

    def whole(self, node: Node, value: Node, form: Form) -> Form:
        self.walk.wide.append(f"{self.draft.address(node)} normalises over the whole map, not over a window")
        return self.mapped(node, value, form)

    def pieces(self, node: Node, value: Node, form: Form) -> list[Form]:
        order = form.order if form.natural else IMAGE
        axis = int(kinds.setting(self.draft, node, "dim", 0)) % len(order)
        if order[axis] != "C":
            self.walk.refuse(node, f"it cuts the {'rows' if order[axis] == 'h' else 'columns'} into pieces",
                             "cut the channels")
        self.walk.keep(node, value, form)
        whole = kinds.base(self.draft, node) != "unbind"
        return [Form.of(shape, order if whole else order.replace("C", "")) for shape in node.meta["shape"]]

    def part(self, node: Node, value: Node, form: Form) -> Form:
        if not form.natural and kinds.base(self.draft, node) == "slice" and node.meta["shape"] == value.meta["shape"]:
            self.walk.at[node] = self.walk.at.get(value, value)
            return form
        order = form.order if form.natural else IMAGE
        axis = int(kinds.setting(self.draft, node, "dim", 0)) % len(order)
        picks = kinds.base(self.draft, node) == "select"
        if order[axis] in "hw":
            size, stop = form.atom(order[axis]).size, kinds.setting(self.draft, node, "end", 2**63 - 1)
            if picks or kinds.base(self.draft, node) == "narrow" or 0 <= stop < size:
                rows = "row" if order[axis] == "h" else "column"
                self.walk.refuse(node, f"it reads {rows} {node.args[2] if picks else stop} of {size}", "read the whole map")
        self.walk.keep(node, value, form)
        return Form.of(node.meta["shape"], order.replace(order[axis], "") if picks else order)

    def expanded(self, node: Node, value: Node, form: Form) -> Form:
        if node.meta["shape"] != value.meta["shape"]:
            self.walk.refuse(node, f"it repeats {form.text()} up to a fixed size",
                             "let the sum or product broadcast by itself")
        self.walk.at[node] = self.walk.at.get(value, value)
        return form

    def enlarged(self, node: Node, value: Node, form: Form) -> Form:
        """To a size: by the factor that this is."""
        (h, w), to = form.map, node.meta["shape"][2:]
        now = self.mapping(node, value)
        if kinds.setting(self.draft, node, "output_size") is not None:
            rest = [a for a in (kinds.setting(self.draft, node, "align_corners"),) if a is not None]
            node.args, node.kwargs = (now, None, *rest, [to[0] / h, to[1] / w]), {}
            self.draft.say(f"{self.draft.address(node)}: enlarges by {to[0] / h:g}×{to[1] / w:g}, not to {to[0]}×{to[1]}",
                           f"# in forward: scale_factor=({to[0] / h:g}, {to[1] / w:g}) in place of size=({to[0]}, {to[1]})")
            self.walk.changed += 1
        return Form.of(node.meta["shape"])

    # ---- several values ----------------------------------------------------------------------------------------------

    def pointwise(self, node: Node, read: list[Node]) -> Form:
        forms: list[Form] = [self.walk.forms[a] for a in read]
        others = [a for a in node.all_input_nodes if a not in read and isinstance(a.meta.get("shape"), tuple)]
        shape = node.meta["shape"]
        if all(f.natural for f in forms):
            form = max(forms, key=lambda f: len(f.axes))
            for f in forms:
                if f.order != form.order[-len(f.order):]:
                    self.walk.refuse(node, f"it joins values of axes {form.order} and {f.order}",
                                     "bring them into one order")
                if any(k in "hw" and a.size == 1 < n for k, (a, *_), n in zip(f.order, f.held, shape, strict=False)):
                    self.walk.refuse(node, "it spreads one number of a pooled map over a map",
                                     "pool with the map's own window")
            for other in others:
                self._same_everywhere(node, other, form, shape)
            self.walk.rewire(node)
            return form.resized(shape)
        if any(f.axes != forms[0].axes or f.held != forms[0].held for f in forms):
            made = [self.walk.arranged(a, IMAGE) for a in read]
            if any(f.axes != made[0][1].axes or f.held != made[0][1].held for _, f in made):
                self.walk.refuse(node, f"it joins {' and '.join(f.text() for f in forms)}", "join maps of one size")
            self.walk.at |= {a: now for a, (now, _) in zip(read, made, strict=True)}
            self.walk.forms |= {a: f for a, (_, f) in zip(read, made, strict=True)}
        weights = [a for a in others if len(a.meta["shape"]) and max(a.meta["shape"]) > 1]
        if weights:
            self.walk.at[read[0]], self.walk.forms[read[0]] = self.walk.arranged(read[0], IMAGE)
        for other in weights:
            self._same_everywhere(node, other, forms[0], shape)
            self.walk.at[other] = self.draft.call(other, torch.reshape, other, (-1, 1, 1))
        self.walk.rewire(node)
        for other in weights:
            del self.walk.at[other]
        return self.walk.forms[read[0]]

    def _same_everywhere(self, node: Node, other: Node, form: Form, shape: Sequence[int]) -> None:
        """A weight must be one for all images, rows and columns."""
        sizes = other.meta["shape"]
        if not form.natural and len(sizes) == len(shape) and sizes[0] > 1:
            self.walk.refuse(node, "it joins a flattened map with a value that does not grow with the image",
                             "join maps only")
        for back, n in enumerate(reversed(sizes), 1):
            if n > 1 and {"h", "w"} & form.kinds(len(shape) - back):
                said = "×".join(map(str, sizes))
                self.walk.refuse(node, f"it has {said} weights, one for each place of the map {form.text()}",
                                 "a larger map has more places than weights: take it out, or make it one per channel")

    def joined(self, node: Node, read: list[Node]) -> Form:
        forms: list[Form] = [self.walk.forms[a] for a in read]
        axis = int(kinds.setting(self.draft, node, "dim", 0)) % len(forms[0].axes)
        if len(read) < len(node.all_input_nodes):
            self.walk.refuse(node, "it joins a map with a value that does not grow with it", "join maps only")
        if all(f.natural for f in forms):
            if forms[0].order[axis] in "hw":
                self.walk.refuse(node, f"it joins maps along their {'rows' if forms[0].order[axis] == 'h' else 'columns'}",
                            "join channels")
            self.walk.rewire(node)
            return forms[0].resized(node.meta["shape"])
        made = [self.walk.arranged(a, IMAGE) for a in read]
        first, sizes = made[0][1], {f.map for _, f in made}
        rest = [tuple(a for a in f.axes[axis] if a.kind != "C") for f in forms]
        in_order = all(f.axes[axis][: len(f.named)] == f.named for f in forms)
        if len(sizes) > 1 or len({*rest}) > 1 or not in_order or any(f.over([i]) & {"C"} for f in forms
                                                                   for i in range(len(f.axes)) if i != axis):
            said = " and ".join(f"{f.width} channels of {f.map[0]}×{f.map[1]}" for f in forms)
            self.walk.refuse(node, f"it joins flattened maps of {said}",
                             "pool them to one size, or join before they are flattened")
        self.walk.at[node] = self.draft.call(node, parts.Concat(1), *(now for now, _ in made), name=self.draft.address(node))
        whole = Form.of((2, sum(f.width for f in forms), *first.map))
        axes = tuple((*whole.axes[1], *rest[0]) if i == axis else a for i, a in enumerate(first.axes))
        return Form(axes, whole.held)
