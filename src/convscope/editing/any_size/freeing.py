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

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Node
from torch.fx.node import map_arg

from convscope.editing import parts
from convscope.editing.any_size import kinds
from convscope.editing.any_size.forms import IMAGE, LAST, Axis, Form, Unclear
from convscope.editing.any_size.heads import Heads
from convscope.editing.any_size.inner import inner_pools
from convscope.editing.any_size.staying import Staying
from convscope.editing.draft import Draft
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
        self.heads, self.staying = Heads(self), Staying(self)
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
        if name == "getitem" and isinstance(form, list):
            if read[0] in self.at:  # a pooling that also gave the places of its maxima is now one that does not
                self.at[node] = self.at[read[0]]
            self.rewire(node)
            return form[int(node.args[1])]  # type: ignore[arg-type]
        if name == "sym_size" or not {"h", "w"} & set(form.order):
            self.rewire(node)
            return None
        try:
            for names, rule in self._rules():
                if name in names:
                    return rule(node, read[0], form)
            if name in kinds.JOINS:
                return self.staying.joined(node, read)
            if kinds.pointwise(draft, node):
                return self.staying.pointwise(node, read)
        except Unclear as problem:
            self.refuse(node, f"{problem}: such pieces end where a larger map has none",
                        "give the network one map throughout")
        self.refuse(node, f"{name} reads {form.text()} as a whole: what it does on a larger map is not said",
                    "take the part before it, or replace it by convolutions")
        return None

    def _rules(self) -> tuple[tuple[set[str], Callable[[Node, Node, Form], Any]], ...]:
        return ((kinds.RESHAPES, self._reshape), (kinds.PERMUTES, self._permute), (kinds.DENSE, self.heads.dense),
                (kinds.ADAPTIVE, self.heads.adaptive), (kinds.AVERAGES, self.heads.average), (kinds.SUMS,
                                                                                              self.heads.reduced),
                ({"BatchNorm1d", "batch_norm"}, self.heads.normalised), ({"LayerNorm", "layer_norm"}, self.heads.layer_norm),
                (kinds.SOFT, self.heads.soft), (kinds.ON_MAPS, self.staying.mapped), (kinds.WHOLE, self.staying.whole),
                (kinds.PIECES, self.staying.pieces), ({"slice", "select",
                                                       "narrow"}, self.staying.part), (kinds.SCALED, self.staying.mapped),
                ({"expand", "expand_as"}, self.staying.expanded),
                ({"upsample_nearest2d", "upsample_bilinear2d", "upsample_bicubic2d"}, self.staying.enlarged))  # fmt: skip

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
        self.draft.say(f"{address}: gone, the map goes on as it is",
                       f"{self.draft.python(address)} = nn.Identity()" if is_module
                       else f"# in forward: leave {self.draft.kind(node).split('.')[0]} out")

    def merged(self, node: Node, value: Node, merges: bool) -> bool:  # noqa: ARG002 - for those who stop at the head
        """Called at every reshape: does the part that is walked end here?"""
        return False

    def stays(self, node: Node, value: Node, form: Form) -> bool:
        """Called at every pooling of the whole map. What goes back into the map stays as it is, whatever the size; said."""
        if node not in self.inner:
            return False
        self.keep(node, value, form)
        self.wide.append(f"{self.draft.address(node)} pools the whole map for the layers after it: at another size "
                         "their answers are not those of a window")
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
    for size in ((c, 2 * h, 2 * w), (c, 2 * h, w)):
        try:
            draft.input_shape = size
            draft.measure()
        except ShapeError as problem:
            raise ShapeError(f"{draft.net.name} stays tied to its image size: {problem.asked}",
                             f"with an image of {size[1]}×{size[2]} {problem.found}",
                             "replace that layer first") from problem
        finally:
            draft.input_shape = given
    draft.measure()


__all__ = ["IMAGE", "LAST", "Walk", "larger"]
