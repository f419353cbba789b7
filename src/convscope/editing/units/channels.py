"""Which channels are one and the same? From the layer that writes them, through all that carries them, to its readers.

Every value gets a label for each entry of its axis 1 (a channel of C×h×w, a number of a vector). Labels are made where a
layer with weights writes, and handed on:

    batch norm, activation, pooling, dropout     the same labels
    flatten, view C×h×w → n                      each label h·w times
    concatenation                                one behind the other
    addition, product                            the labels of both are made one (a stage of a residual network is one group)
    depthwise convolution                        output i·m + j has the label of input i
    grouped convolution                          place k of every group is one label ("slots"), or a whole group is

What mixes channels in any other way *pins* its labels: they cannot be taken away or copied, and the reason is kept (the
network's input, its answer, a softmax, a channel shuffle). `moving.py` then changes all the weights at once.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.fx import Node

from convscope.editing import parts
from convscope.editing.calls import target_name
from convscope.editing.draft import Draft
from convscope.editing.sizes import said
from convscope.editing.units.ways import Labels, Setting, Use, Way
from convscope.errors import UsageError

_CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_ALIKE = ("torch.nn.modules.activation", "torch.nn.modules.pooling", "torch.nn.modules.dropout", "torch.nn.modules.padding",
          "torch.nn.modules.upsampling")  # each channel by itself, but for:
_MIXING = (nn.Softmax, nn.LogSoftmax, nn.Softmin, nn.Softmax2d, nn.GLU, nn.MultiheadAttention)
_CALLS_ALIKE = {"max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d", "max_pool1d", "avg_pool1d",
                "upsample_nearest2d", "upsample_bilinear2d", "interpolate", "dropout", "feature_dropout", "clone",
                "contiguous", "detach", "alias", "relu", "relu6", "gelu", "silu", "elu", "leaky_relu", "hardtanh",
                "hardswish", "hardsigmoid"}  # fmt: skip
_OVER_MAP = {"mean", "sum", "amax"}
_VIEWS = {"view", "reshape", "flatten", "_unsafe_view"}


@dataclass
class Channels:
    """The labels of a draft. `slots`: grouped convolutions lose or gain places in all groups, never whole groups."""

    draft: Draft
    slots: bool = False
    labels: dict[Node, Labels] = field(default_factory=dict[Node, Labels])
    ways: dict[Node, Way] = field(default_factory=dict[Node, Way])
    uses: list[Use] = field(default_factory=list[Use])
    settings: list[Setting] = field(default_factory=list[Setting])
    _parent: list[int] = field(default_factory=list[int])
    _pins: dict[int, str] = field(default_factory=dict[int, str])
    _tensors: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    _seen: dict[tuple[int, int], Labels] = field(default_factory=dict[tuple[int, int], Labels])

    def __post_init__(self) -> None:
        self.draft.measure()
        root = self.draft.root
        self._tensors = dict([*root.named_parameters(remove_duplicate=False), *root.named_buffers(remove_duplicate=False)])
        for node in self.draft.root.graph.nodes:
            if node.op == "placeholder":
                self._opaque(node, "the network's input")
            elif node.op == "output":
                for value in node.all_input_nodes:
                    self._pin(value, f"{said(value)} is the network's answer")
            elif node.op == "call_module":
                self._module(node, self.draft.module(node))
            elif node.op == "call_function":
                self._call(node, target_name(node).split(".")[0].rstrip("_"))

    # ---- asked -------------------------------------------------------------------------------------------------------

    def of(self, node: Node) -> Labels:
        """The class of every channel of a value, (C,): channels of one class live and die together."""
        if node not in self.labels:
            raise UsageError(f"the channels of {said(node)}", "its value has none", "choose a layer that has channels")
        return np.array([self._root(int(i)) for i in self.labels[node]], dtype=np.int64)

    @property
    def pins(self) -> dict[int, str]:
        """Classes that cannot be changed, and why."""
        return {self._root(i): why for i, why in self._pins.items()}

    def writers(self) -> dict[int, list[Node]]:
        """Of every class, the layers that write it, in order."""
        found: dict[int, list[Node]] = {}
        for node, way in self.ways.items():
            if way.kind == "write":
                for each in dict.fromkeys(self.of(node).tolist()):
                    found.setdefault(each, []).append(node)
        return found

    def readers(self) -> dict[int, list[Node]]:
        """Of every class, the values that are read by a layer which adds channels up, in order."""
        found: dict[int, list[Node]] = {}
        for use in self.uses:
            if use.reads:
                for each in dict.fromkeys(self.of(use.value).tolist()):
                    found.setdefault(each, []).append(use.value)
        return {k: list(dict.fromkeys(v)) for k, v in found.items()}

    # ---- labels ------------------------------------------------------------------------------------------------------

    def _root(self, i: int) -> int:
        while self._parent[i] != i:
            self._parent[i] = self._parent[self._parent[i]]
            i = self._parent[i]
        return i

    def _unify(self, a: Labels, b: Labels) -> None:
        for i, j in dict.fromkeys(zip(a.tolist(), b.tolist(), strict=True)):
            first, second = sorted((self._root(i), self._root(j)))
            self._parent[second] = first

    def _fresh(self, count: int) -> Labels:
        start = len(self._parent)
        self._parent += range(start, start + count)
        return np.arange(start, start + count)

    def _pin(self, node: Node, why: str) -> None:
        for i in self.labels.get(node, ()):
            self._pins.setdefault(int(i), why)

    def _size(self, node: Node) -> tuple[int, ...]:
        """The shape of a value with its batch; () if it is no single tensor."""
        shape: tuple[int, ...] = node.meta.get("shape") or ()
        return shape if all(isinstance(n, int) for n in shape) else ()

    def _opaque(self, node: Node, why: str) -> None:
        """Nothing is known of its channels: what it reads and what it gives stays as it is."""
        for value in node.all_input_nodes:
            self._pin(value, why)
        if len(self._size(node)) > 1:
            self.labels[node] = self._fresh(self._size(node)[1])
            self.ways[node] = Way("write") if node.op == "placeholder" else Way("stay")
            self._pin(node, why)

    def _set(self, node: Node, way: Way, labels: Labels) -> None:
        self.ways[node], self.labels[node] = way, labels

    def _use(self, owner: Node, name: str, axis: int, value: Node, **how: Any) -> None:
        """A tensor that several calls use makes their labels one."""
        path = f"{owner.target}.{name}" if owner.op == "call_module" else name
        use = Use(owner, path, self._tensors[path], axis, value, **how)
        tensor = use.tensor
        labels = self.labels[value][: len(self.labels[value]) // use.slots]
        if (id(tensor), axis) in self._seen:
            self._unify(self._seen[id(tensor), axis], labels)
        self._seen[id(tensor), axis] = labels
        self.uses.append(use)

    # ---- modules -----------------------------------------------------------------------------------------------------

    def _module(self, node: Node, module: nn.Module) -> None:
        live = [a for a in node.all_input_nodes if a in self.labels]
        why = f"{said(node)} ({type(module).__name__}) may mix channels"
        size = self._size(node)
        if len(size) < 2 or not live or len(live) < len(node.all_input_nodes):
            return self._opaque(node, why)
        value = live[0]
        if isinstance(module, (*_CONVS, *_TRANSPOSED, nn.Linear)):
            if isinstance(module, nn.Linear) and len(size) > 2:
                return self._opaque(node, f"{said(node)} reads the last of {len(size) - 1} axes")
            return self._weights(node, module, value)
        if isinstance(module, _NORMS) or (isinstance(module, nn.PReLU) and module.num_parameters > 1):
            self._set(node, Way("pass", (value,)), self.labels[value])
            names = ["weight", "bias", "running_mean", "running_var"] if isinstance(module, _NORMS) else ["weight"]
            for name in names:
                if getattr(module, name, None) is not None:
                    self._use(node, name, 0, node)
            count = "num_features" if isinstance(module, _NORMS) else "num_parameters"
            self.settings.append(Setting(node, str(node.target), count, node))
            return None
        if isinstance(module, parts.Add):
            return self._join(node, live)
        if isinstance(module, parts.Concat):
            return self._concat(node, list(node.args), module.dim)
        if isinstance(module, nn.Flatten) and module.start_dim == 1:
            return self._view(node, value, why)
        alike = type(module).__module__ in _ALIKE and not isinstance(module, _MIXING)
        if (alike or isinstance(module, nn.Identity)) and size[:2] == self._size(value)[:2]:
            return self._set(node, Way("pass", (value,)), self.labels[value])
        return self._opaque(node, why)

    def _weights(self, node: Node, module: Any, value: Node) -> None:
        """Convolution and dense layer: they write new channels and read all, or those of their group."""
        dense, turned = isinstance(module, nn.Linear), isinstance(module, _TRANSPOSED)
        groups = 1 if dense else module.groups
        count, given = self._size(node)[1], len(self.labels[value])
        if groups > 1 and turned:
            return self._opaque(node, f"{said(node)} is a transposed convolution in {groups} groups")
        apart = groups == given and groups > 1  # each channel by itself
        if apart:
            self._set(node, Way("spread", (value,), count // given), np.repeat(self.labels[value], count // given))
        elif groups == 1:
            self._set(node, Way("write", (value,)), self._fresh(count))
        else:
            self._groups(node, value, groups)
        self._use(node, "weight", 1 if turned else 0, node)
        if module.bias is not None:
            self._use(node, "bias", 0, node)
        if not apart and self.ways[node].kind != "whole":
            self._use(node, "weight", 0 if turned else 1, value, reads=True, slots=groups)
        names = ("in_features", "out_features") if dense else ("in_channels", "out_channels")
        path = str(node.target)
        self.settings += [Setting(node, path, names[0], value), Setting(node, path, names[1], node)]
        if apart or self.ways[node].kind == "whole":
            self.settings.append(Setting(node, path, "groups", value, given // groups))
        return None

    def _groups(self, node: Node, value: Node, groups: int) -> None:
        count, given = self._size(node)[1] // groups, len(self.labels[value]) // groups
        by_group = self.labels[value].reshape(groups, given)
        pinned = {self._root(i) for i in self._pins}
        fixed = any(self._root(int(i)) in pinned for i in self.labels[value])
        if self.slots or fixed or groups <= given:
            for other in by_group[1:]:
                self._unify(by_group[0], other)
            return self._set(node, Way("write", (value,)), np.tile(self._fresh(count), groups))
        for own in by_group:
            self._unify(own[:-1], own[1:])
        return self._set(node, Way("whole", (value,)), np.repeat(by_group[:, 0], count))

    # ---- calls -------------------------------------------------------------------------------------------------------

    def _call(self, node: Node, name: str) -> None:
        live = [a for a in node.all_input_nodes if a in self.labels]
        size = self._size(node)
        why = f"{said(node)} ({target_name(node)}) may mix channels"
        if len(size) < 2 or not live:
            return self._opaque(node, why)
        args: list[Any] = list(node.args)
        value, settings = live[0], [*args[1:], *node.kwargs.values()]
        if name == "cat":
            return self._concat(node, args[0], (*args[1:], node.kwargs.get("dim", 0))[0])
        if name in _VIEWS and args[0] is value:
            return self._view(node, value, why)
        if name in _OVER_MAP and settings and _over_map(settings[0], len(self._size(value))):
            return self._set(node, Way("pass", (value,)), self.labels[value])
        if name in _CALLS_ALIKE and len(live) == 1 and size[:2] == self._size(value)[:2]:
            return self._set(node, Way("pass", (value,)), self.labels[value])
        pointwise = torch.Tag.pointwise in getattr(node.target, "tags", ()) or node.target in (operator.add, operator.mul)
        if pointwise or node.target in (torch.add, torch.mul):
            return self._join(node, live)
        return self._opaque(node, why)

    def _join(self, node: Node, live: list[Node]) -> None:
        """Element by element: values with as many channels share them; parameters run along. What is 1 wide is spread."""
        size = self._size(node)
        wide = [a for a in live if len(self._size(a)) == len(size) and self._size(a)[1] == size[1]]
        narrow = [a for a in live if a not in wide]
        if not wide or any(len(self._size(a)) != len(size) or self._size(a)[1] != 1 for a in narrow):
            return self._opaque(node, f"{said(node)} joins values of {len(size)} axes in another way than by channel")
        for other in wide[1:]:
            self._unify(self.labels[wide[0]], self.labels[other])
        self._set(node, Way("join", tuple(wide)), self.labels[wide[0]])
        for held in (a for a in node.all_input_nodes if a.op == "get_attr"):
            tensor = tuple(int(n) for n in held.meta.get("shape") or ())
            axis = len(tensor) - (len(size) - 1)
            if 0 <= axis < len(tensor) and tensor[axis] == size[1] > 1:
                self._use(node, str(held.target), axis, node)
        return None

    def _concat(self, node: Node, values: Any, axis: Any) -> None:
        values = list(values)
        size = self._size(node)
        if any(v not in self.labels for v in values) or axis not in range(-len(size), len(size)) or axis % len(size) == 0:
            return self._opaque(node, f"{said(node)} joins values that are no maps")
        if axis % len(size) != 1:
            return self._join(node, values)
        return self._set(node, Way("concat", tuple(values)), np.concatenate([self.labels[v] for v in values]))

    def _view(self, node: Node, value: Node, why: str) -> None:
        """C×h×w as n numbers, or back: channels become blocks."""
        old, new = self._size(value), self._size(node)
        if old[0] != new[0]:
            return self._opaque(node, why)
        if new[1] % old[1] == 0:
            k = new[1] // old[1]
            return self._set(node, Way("spread", (value,), k), np.repeat(self.labels[value], k))
        if old[1] % new[1] == 0:
            blocks = self.labels[value].reshape(new[1], -1)
            for own in blocks:
                self._unify(own[:-1], own[1:])
            return self._set(node, Way("gather", (value,), blocks.shape[1]), blocks[:, 0])
        return self._opaque(node, why)


def _over_map(axes: Any, rank: int) -> bool:
    """Do these axes leave batch and channels alone?"""
    given = axes if isinstance(axes, (list, tuple)) else [axes]
    return all(isinstance(a, int) and a % rank >= 2 for a in given)
