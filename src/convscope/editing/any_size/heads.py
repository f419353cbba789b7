"""The head of a classifier at every place of a larger map: dense layers, global pooling, softmax, norms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.fx import Node

from convscope.editing.any_size import kinds
from convscope.editing.any_size.forms import IMAGE, LAST, Atom, Form
from convscope.editing.any_size.padding import pair
from convscope.editing.modules import constructor

if TYPE_CHECKING:
    from convscope.editing.any_size.freeing import Walk

_POOLS: dict[str, str] = {"mean": "mean", "sum": "sum", "amax": "maximum", "amin": "minimum"}


class Heads:
    """Rules of a `Walk`: each gets the call, the value it reads and that value's form, and gives the form of the result."""

    def __init__(self, walk: Walk) -> None:
        self.walk, self.draft = walk, walk.draft
        self.made: dict[tuple[Any, ...], str] = {}  # dense layers that are called again

    # ---- dense -------------------------------------------------------------------------------------------------------

    def dense(self, node: Node, value: Node, form: Form) -> Form:
        """(…, C·h·w) → (…, K): a convolution whose kernel is what the axis holds of the map."""
        last, walk = form.axes[-1], self.walk
        if any(_varies(a) for a in node.all_input_nodes if a is not value):
            walk.refuse(node, f"it weighs {form.text()} by numbers that come from the image too, as attention does",
                        "take the part before it")
        if form.natural and {a.kind for a in last} == {"C"} and form.order[-1] == "C":
            walk.rewire(node)  # a dense layer on the channels of a channels-last map: one for all places
            return form.resized(node.meta["shape"])
        if set(form.named) - set(last):
            walk.refuse(node, f"it weighs the places of {form.text()} and leaves the channels alone, as a mixer does",
                        "use a convolution there")
        now, _ = walk.arranged(value, IMAGE, shuffled=False)
        kernel = tuple(form.atom(k).size if k in form.kinds(-1) else 1 for k in "hw")
        weight, bias, learns = self._weights(node)
        visible = [a for a in form.channels if a.size > 1]
        order = [last.index(a) for a in (*visible, *(a for a in last if a.kind == "h"), *(a for a in last if a.kind == "w"))]
        placed = weight.reshape(len(weight), *(a.size for a in last)).permute(0, *(1 + i for i in order))
        conv = nn.Conv2d(form.width, len(weight), pair(kernel), bias=bias is not None, device="meta")
        conv.weight = nn.Parameter(placed.reshape(conv.weight.shape).detach().clone(), learns)
        if bias is not None:
            conv.bias = nn.Parameter(bias.detach().clone(), learns)
        self._put(node, now, conv, (str(node.target), tuple(order), kernel))
        self._told(node, form, conv)
        h, w = (Atom(k, 1 if k in form.kinds(-1) else form.atom(k).size) for k in "hw")
        made = Atom("C", len(weight))
        return Form((*form.axes[:-1], (made,) if made.size > 1 else ()), ((form.atom("B"),), (made,), (h,), (w,)))

    def _weights(self, node: Node) -> tuple[Tensor, Tensor | None, bool]:
        """(K, n) weights, (K) biases, and whether they learn."""
        if node.op == "call_module":
            dense: Any = self.draft.module(node)
            return dense.weight, dense.bias, dense.weight.requires_grad
        name, args = kinds.base(self.draft, node), list(node.args)
        first = args.pop(0) if name == "addmm" else None
        matrix: Any = args[1]
        bias: Any = first if name == "addmm" else kinds.setting(self.draft, node, "bias") if name == "linear" else None
        if len(matrix.meta["shape"]) != 2 or any(kinds.setting(self.draft, node, k, 1) != 1 for k in ("alpha", "beta")):
            self.walk.refuse(node, f"its weights are {'×'.join(map(str, matrix.meta['shape']))}, scaled or stacked",
                             "use a plain dense layer")
        weight, learns = kinds.constant(self.draft, matrix)
        given = None if bias is None else kinds.constant(self.draft, bias)[0].reshape(-1)
        return (weight if name == "linear" else weight.T), given, learns

    def _put(self, node: Node, now: Node, module: nn.Module, key: tuple[Any, ...]) -> None:
        """`module` in place of a call, on a value that may be another one. A module called twice stays one."""
        walk, draft = self.walk, self.draft
        walk.changed += 1
        if node.op == "call_function":
            walk.at[node] = draft.call(node, module, now, name=draft.address(node))
        elif key in self.made:
            node.target, node.args = self.made[key], (now,)
        else:
            draft.put(node, module)
            node.args = (now,)
            self.made[key] = str(node.target)

    def _told(self, node: Node, form: Form, conv: nn.Conv2d) -> None:
        place, (kh, kw) = self.draft.python(self.draft.address(node).split(":")[0]), conv.kernel_size
        self.draft.say(f"{self.draft.address(node)}: dense {conv.in_channels * kh * kw:,} → {conv.out_channels:,} becomes a "
                       f"convolution {kh}×{kw}, {conv.in_channels:,} → {conv.out_channels:,} channels",
                       f"dense, conv = {place}, {constructor(conv)}",
                       *_filling(form, conv), f"{place} = conv")

    # ---- pooling of the whole map ------------------------------------------------------------------------------------

    def adaptive(self, node: Node, value: Node, form: Form) -> Form | list[Form] | None:
        """To a fixed number of places: none at all, pooling by equal windows, or the window of the training size."""
        (h, w), shape = form.map, node.meta["shape"]
        places = not isinstance(shape[0], int)  # a call for maxima gives their places too
        if places:
            shape = shape[0]
            if any(user.args[1] != 0 for user in node.users):
                self.walk.refuse(node, "the places of its maxima are read", "read the maxima alone")
        oh, ow = shape[2:]
        if self.walk.stays(node, value, form):
            return None
        now = self.walk.on_map(node, value)
        if (oh, ow) == (h, w):
            self.walk.at[node] = now
            self.walk.changed += 1
            self.draft.say(f"{self.draft.address(node)}: gone, the map of the training size is {h}×{w} already",
                           f"{self.draft.python(self.draft.address(node))} = nn.Identity()")
            return [form.arranged(IMAGE, form.named)] if places else form.arranged(IMAGE, form.named)
        if (oh, ow) != (1, 1) and (h % oh or w % ow):
            even = (-(-h // oh) * oh, -(-w // ow) * ow)
            self.walk.refuse(node, f"it pools {h}×{w} places to {oh}×{ow}: the windows are not of one size",
                             f"pool a map of {even[0]}×{even[1]}, or use the edit any-size")
        kind = "maximum" if "max" in self.draft.kind(node).lower() else "mean"
        made = self._pooled(node, now, form.arranged(IMAGE, form.named), kind, (h // oh, w // ow), shape)
        return [made] if places else made

    def average(self, node: Node, value: Node, form: Form) -> Form | None:
        """A window that covers the map exactly is global pooling; any other one stays."""
        h, w = form.map
        kernel, padding = (pair(kinds.setting(self.draft, node, k, 0)) for k in ("kernel_size", "padding"))
        if kernel != (h, w) or padding != (0, 0) or (h, w) == (1, 1):
            return self.walk.staying.mapped(node, value, form)
        if self.walk.stays(node, value, form):
            return None
        now = self.walk.on_map(node, value)
        return self._pooled(node, now, form.arranged(IMAGE, form.named), "mean", (h, w), node.meta["shape"])

    def reduced(self, node: Node, value: Node, form: Form) -> Form | None:
        """mean(x, (2, 3)) and the like."""
        name, rank = kinds.base(self.draft, node), len(form.axes)
        given = kinds.setting(self.draft, node, "dim", list(range(rank)))
        axes = [int(i) % rank for i in (given if isinstance(given, (list, tuple)) else [given])]
        over, kept = form.over(axes), bool(kinds.setting(self.draft, node, "keepdim", False))
        if "B" in over or ("C" in over and (over != {"C"} or not form.natural)):
            self.walk.refuse(node, f"it takes the {_POOLS[name]} over {form.text()}, channels and places together",
                             "pool rows and columns only")
        if over == {"C"}:
            self.walk.rewire(node)
            order = form.order if kept else form.order.replace("C", "")
            return Form.of(node.meta["shape"], order)
        if self.walk.stays(node, value, form):
            return None
        left = tuple(() if i in axes else a for i, a in enumerate(form.axes) if kept or i not in axes)
        now, form = self.walk.arranged(value, IMAGE)
        kernel = tuple(form.atom(k).size if k in over else 1 for k in "hw")
        held = tuple((Atom(a[0].kind, 1),) if a[0].kind in over else a for a in form.held)
        if name == "amin":
            self.walk.refuse(node, "it takes the minimum over the map", "torch has no sliding minimum; use −max(−x)")
        if kernel == (1, 1):
            self.walk.at[node] = now
        else:
            self._pooled(node, now, form, _POOLS[name], kernel, ())
        return Form(left, held)

    def _pooled(self, node: Node, now: Node, form: Form, kind: str, kernel: tuple[int, ...], shape: Any) -> Form:
        """The same pooling with a window of the training size, which slides."""
        draft, said = self.draft, "×".join(map(str, kernel))
        whole = kernel == form.map or not shape
        if whole and self.walk.pooling == "keep":
            axes = tuple(2 + "hw".index(k) for k, n in zip("hw", kernel, strict=True) if n > 1)
            run: Any = torch.amax if kind == "maximum" else torch.mean if kind == "mean" else torch.sum
            self.walk.at[node] = draft.call(now, run, now, axes, True, name=f"{draft.address(node)}_whole")
            self.walk.changed += 1
            draft.say(f"{draft.address(node)}: stays the {kind} over the whole map, whatever its size",
                      f"# {draft.address(node)} stays as it is")
        else:
            stride = 1 if whole else kernel
            pool = (nn.MaxPool2d(pair(kernel), pair(stride)) if kind == "maximum" else
                    nn.AvgPool2d(pair(kernel), pair(stride), divisor_override=1 if kind == "sum" else None))
            self._put(node, now, pool, (str(node.target), kind, kernel))
            slides = "slides" if whole else "moves in steps of its own size"
            draft.say(f"{draft.address(node)}: the {kind} over {'the map' if whole else 'pieces of the map'} becomes that "
                      f"of a window of {said}, which {slides}", f"{draft.python(draft.address(node))} = {constructor(pool)}")
        return Form.of(shape) if shape else form

    # ---- softmax and norms -------------------------------------------------------------------------------------------

    def soft(self, node: Node, value: Node, form: Form) -> Form:
        """Over the classes: the channels, at every place."""
        axis = kinds.setting(self.draft, node, "dim")
        axis = (0 if len(form.axes) in (0, 1, 3) else 1) if axis is None else int(axis) % len(form.axes)
        if form.kinds(axis) - {"C"} or set(form.named) - set(form.axes[axis]):
            self.walk.refuse(node, f"it takes the softmax over {form.text()}, not over the classes alone",
                             "take it over the axis of the classes")
        if form.natural:
            self.walk.rewire(node)
            return form
        now, form = self.walk.arranged(value, IMAGE)
        module = nn.LogSoftmax(1) if "log" in self.draft.kind(node).lower() else nn.Softmax(1)
        self._put(node, now, module, (str(node.target),))
        self.draft.say(f"{self.draft.address(node)}: over the channels, at every place",
                       f"{self.draft.python(self.draft.address(node))} = {constructor(module)}")
        return form

    def normalised(self, node: Node, value: Node, form: Form) -> Form:
        """Batch norm of vectors: that of maps, with the same numbers a channel."""
        if node.op != "call_module" or len(form.axes) == 4:
            return self.walk.staying.mapped(node, value, form)
        old: Any = self.draft.module(node)
        if form.kinds(1) != {"C"} or set(form.named) - set(form.axes[1]):
            self.walk.refuse(node, f"it has {old.num_features:,} weights, one for each place of the map {form.text()}",
                             "norm the map before it is flattened (BatchNorm2d), or after the dense layer")
        now, form = self.walk.arranged(value, IMAGE)
        norm = nn.BatchNorm2d(old.num_features, old.eps, old.momentum, old.affine, old.track_running_stats)
        norm.load_state_dict(old.state_dict())
        for name, p in norm.named_parameters():
            p.requires_grad_(getattr(old, name).requires_grad)
        self._put(node, now, norm, (str(node.target),))
        place = self.draft.python(self.draft.address(node).split(":")[0])
        self.draft.say(f"{self.draft.address(node)}: BatchNorm1d becomes BatchNorm2d, {old.num_features:,} channels",
                       f"norm, old = {constructor(norm)}, {place}", "norm.load_state_dict(old.state_dict())",
                       f"{place} = norm")
        return form

    def layer_norm(self, node: Node, value: Node, form: Form) -> Form:
        """Over the channels of each place; over rows and columns too it has a weight for every place."""
        count = len(kinds.setting(self.draft, node, "normalized_shape"))
        over = form.over(range(len(form.axes) - count, len(form.axes)))
        if over - {"C"} or set(form.named) - set(form.axes[-1]):
            self.walk.refuse(node, f"it normalises over {form.text()} and has a weight for each of these places",
                             "norm over the channels only, or use BatchNorm2d or GroupNorm")
        if form.natural:
            self.walk.rewire(node)
            return form
        now, form = self.walk.arranged(value, LAST)
        self.walk.rewire(node)
        node.replace_input_with(self.walk.at.get(value, value), now)
        return form


def _filling(form: Form, conv: nn.Conv2d) -> tuple[str, ...]:
    """The lines that put dense weights into a convolution."""
    last, shape = form.axes[-1], f"({conv.out_channels}, {conv.in_channels}, {conv.kernel_size[0]}, {conv.kernel_size[1]})"
    seen = [a for a in form.channels if a.size > 1]
    order = [last.index(a) for a in (*seen, *(a for k in "hw" for a in last if a.kind == k))]
    moved = "" if order == sorted(order) else (f".reshape(-1, {', '.join(str(a.size) for a in last)})"
                                               f".permute(0, {', '.join(str(i + 1) for i in order)})")
    lines = (f"conv.weight.data = dense.weight.data{moved}.reshape{shape}",)
    return lines + (("conv.bias.data = dense.bias.data",) if conv.bias is not None else ())


def _varies(node: Node) -> bool:
    """Is it computed from an input?"""
    return node.op == "placeholder" or any(map(_varies, node.all_input_nodes))



