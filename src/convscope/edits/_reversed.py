"""Layer by layer in reverse: which layer of a mirror network stands for which layer of the encoder.

    conv (U, C, k, k)  → transposed conv (U → C, k)          dense n → m      → dense m → n
    max pooling        → unpooling at its switches           average pooling  → nearest neighbours
    flatten            → reshape                             padding          → cut
    a + b              → the same goes back to both          concat           → each its own slice
    norm, activation, dropout → nothing: batch norm and ReLU stand behind every transposed convolution

What goes back to a value that several layers read is added up, as gradients are.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.fx import Node

from convscope.editing import Draft, parts
from convscope.editing.any_size import kinds
from convscope.editing.any_size.kinds import base
from convscope.editing.backward.derivatives import arguments
from convscope.editing.backward.encoder import ancestors, is_map, live, necks
from convscope.editing.modules import constructor
from convscope.errors import UsageError

_PASSED_MODULES = {"activation", "dropout", "batchnorm", "normalization", "instancenorm"}  # rooms of torch.nn.modules
_PASSED = {"softmax", "log_softmax", "batch_norm", "layer_norm", "group_norm", "instance_norm"}
_AVERAGED = {"AvgPool2d", "AdaptiveAvgPool2d", "avg_pool2d", "adaptive_avg_pool2d", "mean"}
_POOLED = {"MaxPool2d", "AdaptiveMaxPool2d", "max_pool2d"}


@dataclass
class Reversed:
    """The mirror of everything from the image to `end`."""

    draft: Draft
    filters: str  # tied, free, random
    unpooling: str  # switches, nearest
    outputs: int  # 0: the channels of the image
    at: Node = field(init=False)  # the call behind which the next one goes
    switches: dict[Node, Node] = field(default_factory=dict[Node, Node])  # pooled values, and the calls that made them
    overlapping: list[str] = field(default_factory=list[str])
    drawn: list[str] = field(default_factory=list[str])  # layers whose weights were drawn at random

    def run(self, end: Node) -> Node:
        """Puts the mirror into the draft; its answer, (outputs, H, W)."""
        draft = self.draft
        self._check(end)
        if self.unpooling == "switches":
            end = self._open_switches(end)
        encoder = ancestors(draft, end)
        self.first = self._first(encoder)
        self.at = encoder[-1]
        back: dict[Node, Node] = {end: end}
        for node in reversed(encoder):
            if node not in back:
                continue
            coming = back.pop(node)
            for parent, value in self._shares(node, coming):
                there = back.get(parent)
                back[parent] = value if there is None else self._call(parent, parts.Add(), there, value, name="sum")
        answer = back[draft.input]
        if not self.outputs:
            return answer
        width = self._width
        answer = self._bent(draft.input, answer, nn.BatchNorm2d(width))
        score = nn.Conv2d(width, self.outputs, 1)
        draft.say(f"mirror.score: {self.outputs} classes a pixel, of {width} channels",
                  f"mirror_score = {constructor(score)}")
        self.drawn.append("mirror.score")
        self.at = draft.call(self.at, score, answer, name="mirror.score")
        return self.at

    # ---- what there is -----------------------------------------------------------------------------------------------

    def passed(self, node: Node) -> bool:
        """Does the mirror leave this call out? Then what comes back goes on as it is."""
        if node.op == "call_module":
            kind = type(self.draft.module(node))
            where = kind.__module__.removeprefix("torch.nn.modules.")
            return kind is nn.Identity or (where in _PASSED_MODULES and kind is not nn.MultiheadAttention)
        return len(live(node)) == 1 and (kinds.pointwise(self.draft, node) or base(self.draft, node) in _PASSED)

    def rule(self, node: Node) -> Callable[[Node, Node], list[tuple[Node, Node]]] | None:
        """How this call is mirrored, None where nobody knows."""
        name = base(self.draft, node)
        if node in self.switches:
            return self._unpooled
        if name in kinds.JOINS:
            return self._split if self._along_channels(node) else None
        if len(live(node)) == 2 and name in ("add", "Add"):
            one, other = (self.draft.shape(a) for a in live(node))
            return self._both if one == other else None
        known: dict[str, Any] = {"Conv2d": self._conv, "Linear": self._dense, "ZeroPad2d": self._cut, "pad": self._cut,
                                 "constant_pad_nd": self._cut, "ReflectionPad2d": self._cut, "ReplicationPad2d": self._cut,
                                 "ConstantPad2d": self._cut, "CircularPad2d": self._cut}
        known |= dict.fromkeys(kinds.RESHAPES, self._shaped) | dict.fromkeys(_AVERAGED | _POOLED, self._resized)
        return known.get(name)

    def _along_channels(self, node: Node) -> bool:
        values = self._joined(node)
        return all(is_map(self.draft, a) for a in values) and sum(self.draft.shape(a)[0] for a in values) == \
            self.draft.shape(node)[0]

    def _joined(self, node: Node) -> list[Any]:
        """The values of a concatenation, one that stands there twice twice."""
        return list(node.args if node.op == "call_module" else node.args[0])  # type: ignore[arg-type]

    def _check(self, end: Node) -> None:
        for node in ancestors(self.draft, end):
            if self.passed(node) or self.rule(node) is not None:
                continue
            before = [n for n in necks(self.draft, end) if n not in self._after(node) and is_map(self.draft, n)]
            names = ", ".join(self.draft.address(a) for a in live(node))
            raise UsageError(f"a mirror of {self.draft.address(node)} ({self.draft.kind(node)})",
                             f"nothing stands for it in reverse; it reads {names or 'nothing'}",
                             f"end the encoder before it: upto={self.draft.address(before[-1])}" if before
                             else "no map comes before it, so that nothing is left to mirror")

    def _after(self, node: Node) -> set[Node]:
        order = self.draft.nodes
        return set(order[order.index(node):])

    def _first(self, encoder: list[Node]) -> Node | None:
        """The convolution that alone reads the image: its mirror is the last layer, and may have another width."""
        readers = [n for n in encoder if not self.passed(n) and any(self._is_image(a) for a in live(n))]
        return readers[0] if len(readers) == 1 and base(self.draft, readers[0]) == "Conv2d" else None

    def _is_image(self, node: Node) -> bool:
        while node is not self.draft.input and self.passed(node):
            node = live(node)[0]
        return node is self.draft.input

    @property
    def _width(self) -> int:
        """Channels in front of the scores: as many as the first convolution has."""
        return self.draft.input_shape[0] if self.first is None else self.draft.shape(self.first)[0]

    def _open_switches(self, end: Node) -> Node:
        """Let every max pooling say where its maxima are; who read it reads the first of its two values."""
        draft = self.draft
        for node in ancestors(draft, end):
            if base(draft, node) not in _POOLED:
                continue
            like, pool = live(node)[0], _with_indices(draft, node)
            if node.op == "call_module":
                draft.put(node, pool)
            else:
                old, node = node, draft.call(node, pool, like, name=draft.address(node))
                draft.redirect(old, node)
                end = node if end is old else end
            value = draft.call(node, operator.getitem, node, 0, name=f"{draft.address(node)}_pooled")
            draft.redirect(node, value, but=(value,))
            self.switches[value] = node
            end = value if end is node else end
            if isinstance(pool, nn.AdaptiveMaxPool2d) or _overlap(pool):
                self.overlapping.append(draft.address(node))
        draft.measure()
        return end

    # ---- rules: what goes back to each input -------------------------------------------------------------------------

    def _shares(self, node: Node, coming: Node) -> list[tuple[Node, Node]]:
        if self.passed(node):
            return [(live(node)[0], coming)]
        rule = self.rule(node)
        assert rule is not None
        return rule(node, coming)

    def _conv(self, node: Node, coming: Node) -> list[tuple[Node, Node]]:
        draft, like = self.draft, live(node)[0]
        conv: Any = draft.module(node)
        last = self._is_image(like)
        other = last and node is self.first and self.outputs > 0
        width = conv.out_channels if other else conv.in_channels
        padding = conv.padding
        if isinstance(padding, str):
            steps = [d * (k - 1) for d, k in zip(conv.dilation, conv.kernel_size, strict=True)]
            padding = tuple(n // 2 for n in steps) if padding == "same" else (0, 0)
        made = parts.ConvTransposeLike(conv.out_channels, width, conv.kernel_size, conv.stride, padding,
                                       groups=1 if other else conv.groups, dilation=conv.dilation)
        told = constructor(made).replace("ConvTransposeLike", "nn.ConvTranspose2d")  # type: ignore[union-attr]
        self._weights(node, made, conv.weight, told, same=not other)
        value = self._call(node, made, coming, like)
        return [(like, value if last else self._bent(node, value, nn.BatchNorm2d(width)))]

    def _dense(self, node: Node, coming: Node) -> list[tuple[Node, Node]]:
        like = live(node)[0]
        layer: Any = self.draft.module(node)
        made = parts.LinearBack(layer.out_features, layer.in_features)
        self._weights(node, made, layer.weight, f"LinearBack({layer.out_features}, {layer.in_features})", same=True)
        value = self._call(node, made, coming)
        if self._is_image(like) or self._ends_in_image(like):
            return [(like, value)]
        flat = len(self.draft.shape(node)) == 1
        return [(like, self._bent(node, value, nn.BatchNorm1d(layer.in_features)) if flat
                 else self._call(node, nn.ReLU(), value, name="relu"))]

    def _ends_in_image(self, node: Node) -> bool:
        while node is not self.draft.input and (self.passed(node) or base(self.draft, node) in kinds.RESHAPES):
            node = live(node)[0]
        return node is self.draft.input

    def _weights(self, node: Node, made: Any, old: nn.Parameter, told: str, same: bool) -> None:
        """Tied, copied or drawn; biases begin at zero, since batch norm or nothing comes behind."""
        address = self.draft.address(node)
        name = f"mirror_{address.replace('.', '_').replace(':', '_')}"
        nn.init.zeros_(made.bias)
        how = self.filters if same else "random"
        code = [f"{name} = {told}"]
        if how == "tied":
            made.weight = old
            code.append(f"{name}.weight = {self.draft.python(address)}.weight")
        elif how == "free":
            with torch.no_grad():
                made.weight.copy_(old)
            code.append(f"{name}.weight.data.copy_({self.draft.python(address)}.weight)")
        else:
            self.drawn.append(f"mirror.{address}")
        shape = tuple(made.weight.shape)
        self.draft.say(f"mirror.{address}: {shape[0]} → {made.bias.numel()}" + ("" if len(shape) == 2 else
                       f", {'×'.join(map(str, shape[2:]))}") + f", filters {how}", *code)

    def _bent(self, node: Node, value: Node, norm: nn.Module) -> Node:
        value = self._call(node, norm, value, name="norm")
        return self._call(node, nn.ReLU(), value, name="relu")

    def _unpooled(self, node: Node, coming: Node) -> list[tuple[Node, Node]]:
        pool = self.switches[node]
        like = live(pool)[0]
        where = self.draft.call(node, operator.getitem, pool, 1, name=f"{self.draft.address(pool)}_switches")
        self.at = where if self.at is node else self.at
        size = "×".join(map(str, self.draft.shape(like)[1:]))
        self.draft.say(f"mirror.{self.draft.address(pool)}: unpooling at its switches, to {size}")
        return [(like, self._call(pool, parts.Unpool(), coming, where, like))]

    def _resized(self, node: Node, coming: Node) -> list[tuple[Node, Node]]:
        like = live(node)[0]
        if not is_map(self.draft, node):  # the mean of a map, without the axes that it had
            coming = self._call(node, torch.reshape, coming, (-1, self.draft.shape(node)[0], 1, 1))
        size = "×".join(map(str, self.draft.shape(like)[1:]))
        self.draft.say(f"mirror.{self.draft.address(node)}: nearest neighbours, to {size}")
        return [(like, self._call(node, parts.ResizeLike(), coming, like))]

    def _shaped(self, node: Node, coming: Node) -> list[tuple[Node, Node]]:
        like = live(node)[0]
        return [(like, self._call(node, torch.reshape, coming, (-1, *self.draft.shape(like))))]

    def _both(self, node: Node, coming: Node) -> list[tuple[Node, Node]]:
        return [(a, coming) for a in live(node)]

    def _split(self, node: Node, coming: Node) -> list[tuple[Node, Node]]:
        found, start = [], 0
        for a in self._joined(node):
            width = self.draft.shape(a)[0]
            found.append((a, self._call(node, torch.narrow, coming, 1, start, width)))
            start += width
        return found

    def _cut(self, node: Node, coming: Node) -> list[tuple[Node, Node]]:
        module: Any = self.draft.module(node) if node.op == "call_module" else None
        pad = list(arguments(node)["pad"] if module is None else module.padding)
        return [(live(node)[0], self._call(node, F.pad, coming, [-n for n in pad]))]

    def _call(self, of: Node, run: Any, *values: Any, name: str = "") -> Node:
        """A call of the mirror, kept as mirror.ADDRESS or mirror.ADDRESS_name."""
        address = "input" if of is self.draft.input else self.draft.address(of).replace(":", "_")
        self.at = self.draft.call(self.at, run, *values, name=f"mirror.{address}{name and '_'}{name}")
        return self.at


def _with_indices(draft: Draft, node: Node) -> nn.Module:
    """The same max pooling that also says where its maxima are."""
    if node.op == "call_module":
        m: Any = draft.module(node)
        if isinstance(m, nn.AdaptiveMaxPool2d):
            return nn.AdaptiveMaxPool2d(m.output_size, return_indices=True)
        return nn.MaxPool2d(m.kernel_size, m.stride, m.padding, m.dilation, return_indices=True, ceil_mode=m.ceil_mode)
    s = arguments(node)
    return nn.MaxPool2d(_pair(s["kernel_size"]), _pair(s["stride"]) or None, _pair(s["padding"]), _pair(s["dilation"]),
                        return_indices=True, ceil_mode=s["ceil_mode"])


def _pair(value: Any) -> Any:
    return tuple(value) if isinstance(value, (list, tuple)) else value


def _overlap(pool: Any) -> bool:
    """Do two windows share a place?"""
    settings = (pool.kernel_size, pool.stride, pool.dilation)
    kernel, stride, dilation = (v if isinstance(v, tuple) else (v, v) for v in settings)
    return any(d * (k - 1) + 1 > s for k, s, d in zip(kernel, stride, dilation, strict=True))
