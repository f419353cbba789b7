"""One walk through a draft that frees it from its image size: what ties it to the training map is written anew.

    flatten, view, squeeze        gone: the map goes on, and the walk knows what the network's own value would be (forms.py)
    dense over C·h·w              convolution whose kernel is the map: y = Σ_c,i,j w[k, (c,i,j)] x[c, y+i, x+j]
    dense over C                  convolution 1×1
    pooling of the whole map      the same pooling of every window of the map's training size
    softmax, norms over the axis of the classes: over the channels

What already does the same at every size stays as it is, call for call. Whatever would mean something else, or nothing, on a
larger map is refused, with its reason. Long, Shelhamer, Darrell 2015; Sermanet et al. 2014.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Node
from torch.fx.node import map_arg

from convscope.editing import kinds, parts
from convscope.editing.draft import Draft
from convscope.editing.forms import IMAGE, LAST, Axis, Form, Unclear
from convscope.editing.heads import Heads
from convscope.editing.inner import inner_pools
from convscope.errors import ShapeError, UsageError


class Walk:
    """`run()` changes the draft. `pooling`: 'slide' or 'keep', of what pools the whole map."""

    def __init__(self, draft: Draft, pooling: str = "slide") -> None:
        if len(draft.input_shape) != 3:
            raise UsageError(f"any image size for {draft.net.name}", f"it reads inputs of {len(draft.input_shape)} axes",
                             "it must read images: C×H×W")
        self.draft, self.pooling = draft, pooling
        self.forms: dict[Node, Any] = {}  # Form; a list of them; None: nothing in it grows with the image
        self.at: dict[Node, Node] = {}  # the value that stands in place of the network's own
        self.inner = inner_pools(draft)
        self.heads = Heads(self)
        self.wide: list[str] = []  # layers that read the whole map, whatever its size
        self.changed = 0

    def run(self) -> None:
        self.forms[self.draft.input] = Form.of((2, *self.draft.input_shape))
        for node in self.draft.nodes:
            read = [a for a in node.all_input_nodes if self.forms.get(a) is not None]
            self.forms[node] = self._step(node, read) if read else self._fixed(node)
        for node in list(self.draft.root.graph.nodes):
            if node.op == "output":
                node.args = map_arg(node.args, self._answer)
        self.draft.measure()

    def _fixed(self, node: Node) -> None:
        self.rewire(node)

    def _answer(self, node: Node) -> Node:
        form = self.forms.get(node)
        return self.arranged(node, IMAGE)[0] if isinstance(form, Form) and not form.natural else self.at.get(node, node)

    def _step(self, node: Node, read: list[Node]) -> Any:
        draft, name = self.draft, kinds.base(self.draft, node)
        form = self.forms[read[0]]
        if name == "getitem":
            if isinstance(form, list):
                self.rewire(node)
                return form[int(node.args[1])]  # type: ignore[arg-type]
            self.refuse(node, "it picks one value of many by its place", "leave the place free")
        if name == "sym_size" or not {"h", "w"} & set(form.order):
            self.rewire(node)
            return None
        try:
            for names, rule in self._rules():
                if name in names:
                    return rule(node, read[0], form)
            if name in kinds.JOINS:
                return self._join(node, read)
            if kinds.pointwise(draft, node):
                return self._pointwise(node, read)
        except Unclear as problem:
            self.refuse(node, f"{problem}: such pieces end where a larger map has none", "give the network one map throughout")
        self.refuse(node, f"{name} reads {form.text()} as a whole: what it does on a larger map is not said",
                    "take the part before it, or replace it by convolutions")
        return None

    def _rules(self) -> tuple[tuple[set[str], Callable[[Node, Node, Form], Any]], ...]:
        return ((kinds.RESHAPES, self._reshape), (kinds.PERMUTES, self._permute), (kinds.DENSE, self.heads.dense),
                (kinds.ADAPTIVE, self.heads.adaptive), (kinds.AVERAGES, self.heads.average), (kinds.SUMS, self.heads.reduced),
                ({"BatchNorm1d", "batch_norm"}, self.heads.normalised), ({"LayerNorm", "layer_norm"}, self.heads.layer_norm),
                (kinds.SOFT, self.heads.soft), (kinds.ON_MAPS, self._on_map), (kinds.WHOLE, self._whole),
                (kinds.PIECES, self._pieces), ({"slice", "select", "narrow"}, self._part), (kinds.SCALED, self._on_map),
                ({"expand", "expand_as"}, self._expanded),
                ({"upsample_nearest2d", "upsample_bilinear2d", "upsample_bicubic2d"}, self._enlarged))  # fmt: skip

    # ---- what others use ---------------------------------------------------------------------------------------------

    def refuse(self, node: Node, found: str, remedy: str) -> None:
        raise UsageError(f"{self.draft.address(node)} ties {self.draft.net.name} to its image size", found, remedy)

    def rewire(self, node: Node) -> None:
        """The call stays and reads what now stands in place of its inputs."""
        node.args = map_arg(node.args, lambda n: self.at.get(n, n))
        node.kwargs = map_arg(node.kwargs, lambda n: self.at.get(n, n))

    def arranged(self, node: Node, order: str, shuffled: bool = True) -> tuple[Node, Form]:
        """What stands in place of a value, with its axes in this order; `shuffled`: its channels in the network's own."""
        form, now = self.forms[node], self.at.get(node, node)
        if set(form.order) != set(order):
            self.refuse(node, f"{form.order} is no map of channels", "take the part before it")
        if form.order != IMAGE and (form.order != order or (shuffled and self._mixed(form))):
            now = self.draft.call(now, torch.permute, now, tuple(form.order.index(k) for k in IMAGE), name="channels_first")
            form = form.arranged(IMAGE, form.channels)
        if shuffled and self._mixed(form):
            now = self.draft.call(now, _shuffle(form.channels, form.named), now, name="shuffle")
            self.changed += 1
            form = form.arranged(IMAGE, form.named)
        if form.order != order:
            now = self.draft.call(now, torch.permute, now, tuple(IMAGE.index(k) for k in order), name="channels_last")
            form = form.arranged(order, form.channels)
        return now, form

    @staticmethod
    def _mixed(form: Form) -> bool:
        return tuple(a for a in form.channels if a.size > 1) != form.named

    def on_map(self, node: Node, value: Node) -> Node:
        """The value as (B, C, h, w), or an error: it is no map."""
        form: Form = self.forms[value]
        wanted = tuple(set(form.kinds(i)) <= {k} for i, k in enumerate(IMAGE)) if len(form.axes) == 4 else (False,)
        if not all(wanted):
            self.refuse(node, f"it reads {form.text()}, which is no map of channels, rows and columns",
                        "leave maps as they are until the head")
        return self.arranged(value, IMAGE)[0]

    # ---- views -------------------------------------------------------------------------------------------------------

    def _reshape(self, node: Node, value: Node, form: Form) -> Form | None:
        made = form.regrouped(node.meta["shape"])
        if self.merged(node, value, form.merges(node.meta["shape"])):
            return None
        self.at[node] = self.at.get(value, value)
        self._gone(node)
        return made

    def _gone(self, node: Node) -> None:
        address, is_module = self.draft.address(node), node.op == "call_module"
        self.draft.say(f"{address}: gone, the map goes on as it is", f"{self.draft.python(address)} = nn.Identity()" if is_module
                       else f"# in forward: leave {self.draft.kind(node).split('.')[0]} out")

    def merged(self, node: Node, value: Node, merges: bool) -> bool:  # noqa: ARG002 - for those who stop at the head
        """Called at every reshape: does the part that is walked end here?"""
        return False

    def stays(self, node: Node, value: Node, form: Form) -> bool:
        """Called at every pooling of the whole map. What goes back into the map stays as it is, whatever the size; said."""
        if node not in self.inner:
            return False
        self.keep(node, value, form)
        self.wide.append(f"{self.draft.address(node)} pools the whole map for the layers after it: at another size their answers "
                         "are not those of a window")
        return True

    def keep(self, node: Node, value: Node, form: Form) -> None:
        """The call stays, on the value as the network itself has it."""
        now = self.natural(node, value, form)
        self.rewire(node)
        node.replace_input_with(self.at.get(value, value), now)

    def _permute(self, node: Node, value: Node, form: Form) -> Form:
        name, rank = kinds.base(self.draft, node), len(form.axes)
        order = list(range(rank))
        if name == "permute":
            order = [int(i) % rank for i in kinds.setting(self.draft, node, "dims")]
        else:
            given = (0, 1) if name == "t" else tuple(int(i) % rank for i in node.args[1:3])  # type: ignore[call-overload]
            order[given[0]], order[given[1]] = given[1], given[0]
        if form.natural:
            self.rewire(node)
        else:
            self.at[node] = self.at.get(value, value)
        return form.permuted(order, form.natural)

    # ---- calls that stay ---------------------------------------------------------------------------------------------

    def natural(self, node: Node, value: Node, form: Form) -> Node:
        """The value as the network itself has it, in whatever order of axes."""
        return self.at.get(value, value) if form.natural else self.on_map(node, value)

    def _on_map(self, node: Node, value: Node, form: Form) -> Form:
        pads = kinds.base(self.draft, node) in {"pad", "constant_pad_nd"}
        now = self.natural(node, value, form) if pads else self.on_map(node, value)
        order = form.order if form.natural else IMAGE
        self.rewire(node)
        node.replace_input_with(self.at.get(value, value), now)
        return Form.of(node.meta["shape"], order)

    def _whole(self, node: Node, value: Node, form: Form) -> Form:
        self.wide.append(f"{self.draft.address(node)} normalises over the whole map, not over a window")
        return self._on_map(node, value, form)

    def _pieces(self, node: Node, value: Node, form: Form) -> list[Form]:
        order = form.order if form.natural else IMAGE
        axis = int(kinds.setting(self.draft, node, "dim", 0)) % len(order)
        if order[axis] != "C":
            self.refuse(node, f"it cuts the {'rows' if order[axis] == 'h' else 'columns'} into pieces", "cut the channels")
        self.keep(node, value, form)
        whole = kinds.base(self.draft, node) != "unbind"
        return [Form.of(shape, order if whole else order.replace("C", "")) for shape in node.meta["shape"]]

    def _part(self, node: Node, value: Node, form: Form) -> Form:
        if not form.natural and kinds.base(self.draft, node) == "slice" and node.meta["shape"] == value.meta["shape"]:
            self.at[node] = self.at.get(value, value)
            return form
        order = form.order if form.natural else IMAGE
        axis = int(kinds.setting(self.draft, node, "dim", 0)) % len(order)
        picks = kinds.base(self.draft, node) == "select"
        if order[axis] in "hw":
            size, stop = form.atom(order[axis]).size, kinds.setting(self.draft, node, "end", 2**63 - 1)
            if picks or kinds.base(self.draft, node) == "narrow" or 0 <= stop < size:
                rows = "row" if order[axis] == "h" else "column"
                self.refuse(node, f"it reads {rows} {node.args[2] if picks else stop} of {size}", "read the whole map")
        self.keep(node, value, form)
        return Form.of(node.meta["shape"], order.replace(order[axis], "") if picks else order)

    def _expanded(self, node: Node, value: Node, form: Form) -> Form:
        if node.meta["shape"] != value.meta["shape"]:
            self.refuse(node, f"it repeats {form.text()} up to a fixed size", "let the sum or product broadcast by itself")
        self.at[node] = self.at.get(value, value)
        return form

    def _enlarged(self, node: Node, value: Node, form: Form) -> Form:
        """To a size: by the factor that this is."""
        now, (h, w), to = self.on_map(node, value), form.map, node.meta["shape"][2:]
        self.rewire(node)
        node.replace_input_with(self.at.get(value, value), now)
        if kinds.setting(self.draft, node, "output_size") is not None:
            rest = [a for a in (kinds.setting(self.draft, node, "align_corners"),) if a is not None]
            node.args, node.kwargs = (now, None, *rest, [to[0] / h, to[1] / w]), {}
            self.draft.say(f"{self.draft.address(node)}: enlarges by {to[0] / h:g}×{to[1] / w:g}, not to {to[0]}×{to[1]}",
                           f"# in forward: scale_factor=({to[0] / h:g}, {to[1] / w:g}) in place of size=({to[0]}, {to[1]})")
            self.changed += 1
        return Form.of(node.meta["shape"])

    # ---- several values ----------------------------------------------------------------------------------------------

    def _pointwise(self, node: Node, read: list[Node]) -> Form:
        forms: list[Form] = [self.forms[a] for a in read]
        others = [a for a in node.all_input_nodes if a not in read and isinstance(a.meta.get("shape"), tuple)]
        shape = node.meta["shape"]
        if all(f.natural for f in forms):
            form = max(forms, key=lambda f: len(f.axes))
            for f in forms:
                if f.order != form.order[-len(f.order):]:
                    self.refuse(node, f"it joins values of axes {form.order} and {f.order}", "bring them into one order")
                if any(k in "hw" and a.size == 1 < n for k, (a, *_), n in zip(f.order, f.held, shape, strict=False)):
                    self.refuse(node, "it spreads one number of a pooled map over a map", "pool with the map's own window")
            for other in others:
                self._same_everywhere(node, other, form, shape)
            self.rewire(node)
            return form.resized(shape)
        if any(f.axes != forms[0].axes or f.held != forms[0].held for f in forms):
            made = [self.arranged(a, IMAGE) for a in read]
            if any(f.axes != made[0][1].axes or f.held != made[0][1].held for _, f in made):
                self.refuse(node, f"it joins {' and '.join(f.text() for f in forms)}", "join maps of one size")
            self.at |= {a: now for a, (now, _) in zip(read, made, strict=True)}
            self.forms |= {a: f for a, (_, f) in zip(read, made, strict=True)}
        weights = [a for a in others if len(a.meta["shape"]) and max(a.meta["shape"]) > 1]
        if weights:
            self.at[read[0]], self.forms[read[0]] = self.arranged(read[0], IMAGE)
        for other in weights:
            self._same_everywhere(node, other, forms[0], shape)
            self.at[other] = self.draft.call(other, torch.reshape, other, (-1, 1, 1))
        self.rewire(node)
        for other in weights:
            del self.at[other]
        return self.forms[read[0]]

    def _same_everywhere(self, node: Node, other: Node, form: Form, shape: Sequence[int]) -> None:
        """A weight must be one for all rows and columns."""
        sizes = other.meta["shape"]
        for back, n in enumerate(reversed(sizes), 1):
            if n > 1 and {"h", "w"} & form.kinds(len(shape) - back):
                said = "×".join(map(str, sizes))
                self.refuse(node, f"it has {said} weights, one for each place of the map {form.text()}",
                            "a larger map has more places than weights; take it out (`remove`), or make them one per channel")

    def _join(self, node: Node, read: list[Node]) -> Form:
        forms: list[Form] = [self.forms[a] for a in read]
        axis = int(kinds.setting(self.draft, node, "dim", 0)) % len(forms[0].axes)
        if len(read) < len(node.all_input_nodes):
            self.refuse(node, "it joins a map with a value that does not grow with it", "join maps only")
        if all(f.natural for f in forms):
            if forms[0].order[axis] in "hw":
                self.refuse(node, f"it joins maps along their {'rows' if forms[0].order[axis] == 'h' else 'columns'}",
                            "join channels")
            self.rewire(node)
            return forms[0].resized(node.meta["shape"])
        made = [self.arranged(a, IMAGE) for a in read]
        first, sizes = made[0][1], {f.map for _, f in made}
        rest = [tuple(a for a in f.axes[axis] if a.kind != "C") for f in forms]
        in_order = all(f.axes[axis][: len(f.named)] == f.named for f in forms)
        if len(sizes) > 1 or len({*rest}) > 1 or not in_order or any(f.over([i]) & {"C"} for f in forms
                                                                   for i in range(len(f.axes)) if i != axis):
            said = " and ".join(f"{f.width} channels of {f.map[0]}×{f.map[1]}" for f in forms)
            self.refuse(node, f"it joins flattened maps of {said}", "pool them to one size, or join before they are flattened")
        joined = self.draft.call(node, parts.Concat(1), *(now for now, _ in made), name=self.draft.address(node))
        self.at[node] = joined
        whole = Form.of((2, sum(f.width for f in forms), *first.map))
        axes = tuple((*whole.axes[1], *rest[0]) if i == axis else a for i, a in enumerate(first.axes))
        return Form(axes, whole.held)


def _shuffle(held: Axis, wanted: Axis) -> nn.Module:
    """The module that brings channels into another order."""
    seen = tuple(a for a in held if a.size > 1)
    if len(seen) == 2:
        return nn.ChannelShuffle(seen[0].size)
    places: Tensor = torch.arange(_count(seen)).reshape([a.size for a in seen])
    return parts.Reorder(tuple(places.permute([seen.index(a) for a in wanted]).flatten().tolist()))


def _count(axis: Axis) -> int:
    count = 1
    for a in axis:
        count *= a.size
    return count


def larger(draft: Draft) -> None:
    """Run the freed draft on shapes of twice the size, non-square: what still ties it is said."""
    c, h, w = draft.input_shape
    given = draft.input_shape
    try:
        for size in ((c, 2 * h, 2 * w), (c, 2 * h, w)):
            draft.input_shape = size
            draft.measure()
    except ShapeError as problem:
        raise ShapeError(f"{draft.net.name} stays tied to its image size: {problem.asked}",
                         f"with an image of {size[1]}×{size[2]} {problem.found}", "replace that layer first") from problem
    finally:
        draft.input_shape = given
    draft.measure()


__all__ = ["IMAGE", "LAST", "Walk", "larger"]
