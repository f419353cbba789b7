"""Every call of a draft applied backwards: what arrives at its output goes on to its inputs, as calls of the same graph.

    y = f(x₁, x₂, …),  v of y's shape   →   vᵀ·∂f/∂xᵢ of xᵢ's shape

    convolution  the transposed one with the very same weights    dense        v·W
    max pooling  unpooling at the switches                        mean         v spread over its window, divided by its size
    batch norm   v·γ/√(var + ε), the running statistics           nonlinear    v·φ′(x), or φ(v), or v itself
    x + z        v to both                                        concat       each its own slice

Source: Zeiler and Fergus 2014, "Visualizing and Understanding Convolutional Networks" (switches, φ on the way back).
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.fx import Node

from convscope.editing import parts
from convscope.editing.backward.derivatives import ADAPTIVE, AVERAGES, MADE, NONLINEAR, SLOPES, WITH_SWITCHES, arguments
from convscope.editing.calls import call_text
from convscope.editing.draft import Draft
from convscope.editing.modules import constructor
from convscope.errors import UsageError

Shares = list[tuple[Node, Node]]  # an input of a call, and what goes back to it

_RESHAPED = {"view", "reshape", "flatten", "_unsafe_view", "squeeze", "unsqueeze", "unflatten", "Flatten", "Unflatten"}
_SAME = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)
_CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_MAX_POOLS = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)



class Backwards:
    """One way back through a draft. `nonlinear`: derivative, apply or pass; `overlap`: add or overwrite.

    `met` counts what it went through, by kind; `made` are its calls, in order.
    """

    def __init__(self, draft: Draft, nonlinear: str = "derivative", overlap: str = "add") -> None:
        self.draft, self.nonlinear, self.overlap = draft, nonlinear, overlap
        self.made: list[Node] = []
        self.met: dict[str, int] = {}
        self.at: Node = draft.input  # the call behind which the next one goes

    def call(self, of: Node, run: Any, *values: Any, **settings: Any) -> Node:
        """A call of the way back, kept under back.ADDRESS where it is a module."""
        self.at = self.draft.call(self.at, run, *values, name=f"back.{self.draft.address(of)}", **settings)
        self.made.append(self.at)
        return self.at

    def through(self, source: Node, end: Node, signal: Node) -> Node:
        """From `signal`, of `end`'s shape, back to `source`, on all ways between the two; it must come after both."""
        between = ways(self.draft, source, end)
        self.at = signal
        arriving = {end: signal}
        for node in (n for n in reversed(between) if n in arriving):
            kind = self.draft.kind(node).split(".")[0]
            self.met[kind] = self.met.get(kind, 0) + 1
            for parent, share in self._shares(node, arriving.pop(node), {source, *between}):
                there = arriving.get(parent)
                arriving[parent] = share if there is None else self.call(parent, torch.add, there, share)
        return arriving[source]

    def code(self) -> list[str]:
        """The way back in plain PyTorch, line by line; `values` are those of the forward pass."""
        names: dict[Node, str] = {self.draft.input: "x"}
        read: list[str] = []
        lines: list[str] = []
        for i, node in enumerate(self.made):
            for a in (n for n in node.all_input_nodes if n not in names):
                address = self.draft.address(a)
                names[a] = self.draft.python(str(a.target)) if a.op == "get_attr" else f'values["{address}"]'
                read += [address] if a.op != "get_attr" else []
            names[node] = f"v{i}"
            if node.op != "call_module":
                lines.append(f"v{i} = {call_text(node, names)}")
                continue
            module, text = self.draft.module(node), str(constructor(self.draft.module(node)))
            tied = [p for p, m in self.draft.root.named_modules()
                    if m is not module and getattr(m, "weight", None) is getattr(module, "weight", 0)]
            lines.append(f"step = {text}" if text.startswith("nn.") else f"step = parts.{text}")
            lines += [f"step.weight = {self.draft.python(p)}.weight" for p in tied[:1]]
            lines.append(f"v{i} = step({', '.join(names[a] for a in node.all_input_nodes)})")
        return [f"values = convscope.open(model, example=x).run(x, keep={read})", *lines]

    def _shares(self, node: Node, v: Node, wanted: set[Node]) -> Shares:
        """What goes back to each input of a call that lies on the way."""
        name = self.draft.kind(node).split(".")[0]
        if node.target is operator.getitem:
            return self._picked(node, v)
        coming = [a for a in node.all_input_nodes if a.op != "get_attr" and _single(a)]
        if name in ("add", "Add", "sub", "mul", "div", "cat", "Concat"):
            return [(a, share) for a, share in self._joined(node, name, v, wanted) if a in wanted]
        if len(coming) != 1:
            raise self._no_way(node)
        x = coming[0]
        if name in _RESHAPED:
            return [(x, self.call(node, torch.reshape, v, (-1, *self.draft.shape(x))))]
        if name == "mean":
            return [(x, self._mean(node, x, v))]
        module = self._module(node, name)
        return [(x, v if isinstance(module, _SAME) else self._alone(node, module, x, v))]

    def _module(self, node: Node, name: str) -> nn.Module:
        """The module that a call runs, or for a plain call one that computes the same."""
        if node.op == "call_module":
            return self.draft.module(node)
        if name not in MADE:
            raise self._no_way(node)
        settings = arguments(node)
        if name == "elu" and (settings["scale"], settings["input_scale"]) != (1, 1):
            raise self._no_way(node)
        return MADE[name](settings)

    # ---- one input ---------------------------------------------------------------------------------------------------

    def _alone(self, node: Node, m: Any, x: Node, v: Node) -> Node:
        if isinstance(m, NONLINEAR):
            return self._bent(node, m, x, v)
        if isinstance(m, nn.Linear):
            return self.call(node, torch.matmul, v, self._tensor(node, "weight"))
        if isinstance(m, _CONVS):
            return self._convolution(node, m, x, v)
        if isinstance(m, _TRANSPOSED):
            return self.call(node, self._tied(_CONVS[_TRANSPOSED.index(type(m))], m, m.padding), v)
        if isinstance(m, _NORMS) and m.running_var is not None:
            spread = self._tensor(node, "running_var")
            centre = self.call(node, torch.zeros_like, spread)
            scale = None if m.weight is None else self._tensor(node, "weight")
            return self.call(node, F.batch_norm, v, centre, spread, scale, None, False, 0.0, m.eps)
        if isinstance(m, _MAX_POOLS):
            return self._unpooled(node, m, x, v)
        if type(m) in AVERAGES:
            n = len(self.draft.shape(x)) - 1
            asked: tuple[Any, ...] = (m.kernel_size, m.stride, m.padding)
            sizes = [[s] * n if isinstance(s, int) else list(s) for s in asked]
            return self.call(node, AVERAGES[type(m)], v, x, *sizes, m.ceil_mode, m.count_include_pad, m.divisor_override)
        if type(m) in ADAPTIVE:
            return self.call(node, ADAPTIVE[type(m)], v, x)
        if isinstance(m, (nn.LocalResponseNorm, nn.Softmax, nn.LogSoftmax)):
            if self.nonlinear != "derivative":
                return v  # the papers undo no normalisation
            return self._response_norm(node, m, x, v) if isinstance(m, nn.LocalResponseNorm) else self._softmax(node, m, v)
        raise self._no_way(node)

    def _bent(self, node: Node, m: nn.Module, x: Node, v: Node) -> Node:
        if self.nonlinear == "pass":
            return v
        if self.nonlinear == "apply":
            return self.call(node, type(m)() if isinstance(m, nn.ReLU) else m, v)
        if isinstance(m, nn.ReLU):
            return self.call(node, torch.mul, v, self.call(node, torch.gt, x, 0))
        run, takes = SLOPES[type(m)]
        return self.call(node, run, *takes(m, v, x, node),
                         **({"approximate": m.approximate} if isinstance(m, nn.GELU) else {}))

    def _tied(self, kind: Any, m: Any, padding: Any, **more: Any) -> nn.Module:
        """The convolution the other way round, with the very weights of `m`."""
        made: nn.Module = kind(m.out_channels, m.in_channels, m.kernel_size, m.stride, padding, groups=m.groups, bias=False,
                               dilation=m.dilation, device="meta", **more)
        made.weight = m.weight
        return made

    def _convolution(self, node: Node, m: Any, x: Node, v: Node) -> Node:
        """Transposed; output padding is what the forward stride left over: (H + 2·pad − dilation·(k − 1) − 1) mod stride."""
        if m.padding_mode != "zeros":
            raise UsageError(f"{self.draft.address(node)} backwards", f"it pads by {m.padding_mode}",
                             "only zero padding has a transposed convolution; choose another layer")
        spans = [d * (k - 1) for d, k in zip(m.dilation, m.kernel_size, strict=True)]
        same = m.padding == "same"
        padding = tuple(0 for _ in spans) if isinstance(m.padding, str) else m.padding
        sizes = self.draft.shape(x)[1:]
        extra = tuple(0 if same else (size + 2 * p - span - 1) % s
                      for size, p, span, s in zip(sizes, padding, spans, m.stride, strict=True))
        kind = _TRANSPOSED[_CONVS.index(type(m))]
        back = self.call(node, self._tied(kind, m, padding, output_padding=extra), v)
        for axis, (size, span) in enumerate(zip(sizes, spans, strict=True)):
            if same and span:  # 'same' pads span // 2 before, the rest behind
                back = self.call(node, torch.narrow, back, axis + 2, span // 2, size)
        return back

    def _unpooled(self, node: Node, m: Any, x: Node, v: Node) -> Node:
        pool = getattr(F, f"max_pool{_MAX_POOLS.index(type(m)) + 1}d_with_indices")
        pooled = self.call(node, pool, x, m.kernel_size, m.stride, m.padding, m.dilation, m.ceil_mode)
        return self.call(node, parts.Unpool(self.overlap), v, self.call(node, operator.getitem, pooled, 1), x)

    def _picked(self, node: Node, v: Node) -> Shares:
        """The values of a pooling that gives its switches along."""
        pooled: Any = node.args[0]
        if node.args[1] != 0 or self.draft.kind(pooled).split(".")[0] not in WITH_SWITCHES:
            raise self._no_way(pooled)
        x = pooled.all_input_nodes[0]
        return [(x, self.call(node, parts.Unpool(self.overlap), v, self.call(node, operator.getitem, pooled, 1), x))]

    def _mean(self, node: Node, x: Node, v: Node) -> Node:
        """1/n of v to each of the n values that were averaged."""
        size = self.draft.shape(x)
        axes = {int(a) % (len(size) + 1) for a in arguments(node)["dim"]}
        kept = tuple(1 if i + 1 in axes else n for i, n in enumerate(size))
        count = math.prod(size[axis - 1] for axis in axes)
        spread = self.call(node, torch.reshape, v, (-1, *kept))
        return self.call(node, torch.add, self.call(node, torch.zeros_like, x), spread, alpha=1 / count)

    def _softmax(self, node: Node, m: Any, v: Node) -> Node:
        """y·(v − Σ v·y) of softmax; v − eʸ·Σ v of its logarithm."""
        log = isinstance(m, nn.LogSoftmax)
        mass = self.call(node, torch.sum, v if log else self.call(node, torch.mul, v, node), m.dim, keepdim=True)
        if log:
            return self.call(node, torch.sub, v, self.call(node, torch.mul, self.call(node, torch.exp, node), mass))
        return self.call(node, torch.mul, node, self.call(node, torch.sub, v, mass))

    def _response_norm(self, node: Node, m: Any, x: Node, v: Node) -> Node:
        """y = x·d^−β, d = k + α·(mean of x² over channels):  v·d^−β − 2αβ·x·(mean, mirrored, of v·y/d)."""
        before, behind = m.size // 2, (m.size - 1) // 2
        mean = self._window(node, self.call(node, torch.mul, x, x), (before, behind), m.size)
        d = self.call(node, torch.add, self.call(node, torch.mul, mean, m.alpha), m.k)
        ratio = self.call(node, torch.div, self.call(node, torch.mul, v, node), d)
        mixed = self._window(node, ratio, (behind, before), m.size)
        straight = self.call(node, torch.mul, v, self.call(node, torch.pow, d, -m.beta))
        return self.call(node, torch.sub, straight, self.call(node, torch.mul, x, mixed), alpha=2 * m.alpha * m.beta)

    def _window(self, node: Node, value: Node, around: tuple[int, int], size: int) -> Node:
        """The mean over neighbouring channels, zeros beyond the ends."""
        deep = self.call(node, torch.unsqueeze, value, 1)
        padded = self.call(node, F.pad, deep, (0, 0, 0, 0, *around))
        return self.call(node, torch.squeeze, self.call(node, F.avg_pool3d, padded, (size, 1, 1), stride=1), 1)

    # ---- several inputs ----------------------------------------------------------------------------------------------

    def _joined(self, node: Node, name: str, v: Node, wanted: set[Node]) -> Iterator[tuple[Any, Node]]:
        if name in ("cat", "Concat"):
            several = node.args if name == "Concat" else node.args[0]
            axis = int(self.draft.module(node).dim if name == "Concat" else arguments(node)["dim"])  # type: ignore[arg-type]
            axis %= len(self.draft.shape(node)) + 1
            start = 0
            for part in several:  # type: ignore[union-attr]
                length = self.draft.shape(part)[axis - 1]  # type: ignore[arg-type]
                if part in wanted:
                    yield part, self.call(node, torch.narrow, v, axis, start, length)
                start += length
            return
        values = list(node.args)
        if len(values) != 2 or (name == "div" and values[1] in wanted):
            raise self._no_way(node)
        alpha = node.kwargs.get("alpha", 1)
        for i, value in enumerate(values):
            if value not in wanted:
                continue
            share, other = v, values[1 - i]
            if name in ("mul", "div"):
                share = self.call(node, torch.mul if name == "mul" else torch.div, v, other)
            elif i == 1 and (name == "sub" or alpha != 1):
                share = self.call(node, torch.mul, v, -alpha if name == "sub" else alpha)  # type: ignore[operator]
            yield value, self._summed(node, share, self.draft.shape(value))  # type: ignore[arg-type]

    def _summed(self, node: Node, share: Node, size: tuple[int, ...]) -> Node:
        """What was broadcast comes back added up."""
        full = self.draft.shape(node)
        if len(full) != len(size):
            raise self._no_way(node)
        axes = [i + 1 for i in range(len(size)) if full[i] != size[i]]
        return self.call(node, torch.sum, share, axes, keepdim=True) if axes else share

    def _tensor(self, node: Node, own: str) -> Node:
        """The module's own parameter or buffer, read in the graph: the weights stay tied."""
        with self.draft.root.graph.inserting_after(self.at):
            self.at = self.draft.root.graph.get_attr(f"{node.target}.{own}")
        return self.at

    def _no_way(self, node: Node) -> UsageError:
        return UsageError(f"{self.draft.address(node)} backwards", f"there is no way back through {self.draft.kind(node)}",
                          "end or begin at another layer: layer=…, upto=…")


def ways(draft: Draft, source: Node, end: Node) -> list[Node]:
    """The calls that lie on a way from `source` to `end`, `end` among them, in the order in which they run."""
    after, before = {source}, {end}
    for node in draft.nodes:
        if node.meta.get("shape") and any(a in after for a in node.all_input_nodes):
            after.add(node)
    for node in reversed(draft.nodes):
        if any(u in before for u in node.users):
            before.add(node)
    return [n for n in draft.nodes if n in after and n in before and n is not source]


def _single(node: Node) -> bool:
    """Is this node's value one tensor?"""
    size = node.meta.get("shape")
    return bool(size) and isinstance(size[0], int)
