"""Strides become dilations, all the way: the map that a loop over windows, one pixel apart, would give, in one pass.

    a layer with kernel k, stride s, dilation e, behind strides that multiply to d:     stride 1, dilation d·e; then d := d·s
    position i of the window at pixel y lies at y + d·i, so one value serves all windows that share it

All along (rows, columns). `short`: how many positions a map has less than the image has pixels. Where branches meet, the
longer one is cut at its end, and at last the answer is cut to one position a window. Padding p becomes d·p: inside the image
windows then see their neighbours, not zeros. Giusti et al. 2013; Li, Zhao, Wang 2014; Holschneider et al. 1989.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.fx import Node

from convscope.editing import parts
from convscope.editing.any_size import kinds
from convscope.editing.any_size.forms import IMAGE
from convscope.editing.any_size.padding import kernel_size, padding, pair
from convscope.editing.draft import Draft
from convscope.errors import UsageError

Two = tuple[int, int]
_CHANNELWISE = {"BatchNorm2d", "batch_norm", "LocalResponseNorm", "Dropout2d", "feature_dropout", "Softmax2d",
                "ChannelShuffle", "channel_shuffle", "Reorder"}  # fmt: skip


@dataclass(frozen=True)
class Grain:
    """Of a value: the strides so far, how many positions it lacks, and the order of its axes."""

    d: Two = (1, 1)
    short: Two = (0, 0)
    order: str = IMAGE


class Dilating:
    """`run()` changes a draft that is fully convolutional. `neighbours`: padding may be replaced by what lies there."""

    def __init__(self, draft: Draft, neighbours: bool = False) -> None:
        self.draft, self.neighbours = draft, neighbours
        self.grains: dict[Node, Any] = {}
        self.moved: dict[Node, Node] = {}  # calls that a module has taken the place of
        self.strides: list[str] = []  # layers whose stride is gone
        self.pads: list[str] = []  # layers that pad

    def run(self) -> None:
        draft = self.draft
        _, height, width = draft.input_shape
        answer = draft.output
        if len(draft.shape(answer)) != 3 or draft.shape(answer)[1:] != (1, 1):
            raise UsageError(f"a dense map of {draft.net.name}",
                             f"its answer for one window is {draft.shape(answer)}, no vector",
                             "it must score the window as a whole: K numbers")
        self.grains[draft.input] = Grain()
        for node in draft.nodes:
            read = [a for a in node.all_input_nodes if self.grains.get(a) is not None]
            grain = self._step(node, read) if read else None
            self.grains[node] = self.grains[self.moved.get(node, node)] = grain
        answer = draft.output
        last: Grain = self.grains[answer]
        if last.order != IMAGE:
            self._refuse(answer, f"it ends with axes {last.order}", "end with channels before rows and columns")
        cut = (height - 1 - last.short[0], width - 1 - last.short[1])
        if min(cut) < 0:
            self._refuse(answer, f"windows reach {-min(cut)} pixels beyond their image",
                         "use an image size that the strides divide")
        if max(cut):
            self._cut(answer, answer, cut)
        draft.measure()

    def _step(self, node: Node, read: list[Node]) -> Any:
        draft, name = self.draft, kinds.base(self.draft, node)
        grain = self.grains[read[0]]
        if isinstance(grain, list):
            return grain[int(node.args[1])]  # type: ignore[arg-type]
        if name in ("Conv2d", "conv2d", "MaxPool2d", "max_pool2d", "AvgPool2d", "avg_pool2d"):
            return self._window(node, read[0], grain)
        if name == "permute":
            return replace(grain, order="".join(grain.order[int(i)] for i in _dims(node)))
        if len(read) > 1:
            return self._join(node, read)
        if name in ("pad", "constant_pad_nd", "ZeroPad2d", "ConstantPad2d"):
            return self._pad(node, grain)
        if name in kinds.PIECES:
            return [grain] * len(node.meta["shape"])
        across = name in _CHANNELWISE | kinds.SOFT | kinds.DENSE | {"LayerNorm", "layer_norm", "Concat", "cat"}
        if across or kinds.pointwise(draft, node) or (name == "slice" and grain.order[int(node.args[1])] in "BC"):  # type: ignore[arg-type]
            return grain
        self._refuse(node, f"{name} at strides of {grain.d[0]}×{grain.d[1]} has no dense counterpart",
                     "use `convolutionalize`, which keeps the strides")
        return None

    def _refuse(self, node: Node, found: str, remedy: str) -> None:
        raise UsageError(f"{self.draft.address(node)} keeps {self.draft.net.name} from a dense map", found, remedy)

    # ---- windows -----------------------------------------------------------------------------------------------------

    def _window(self, node: Node, value: Node, grain: Grain) -> Grain:
        draft, name = self.draft, kinds.base(self.draft, node).lower().replace("_", "")
        if grain.order != IMAGE:
            self._refuse(node, f"it reads axes {grain.order}", "bring channels before rows and columns")
        kernel = kernel_size(draft, node)
        stride = pair(kinds.setting(draft, node, "stride", None) or kernel)
        own, pad = pair(kinds.setting(draft, node, "dilation", 1)), padding(draft, node)
        size, out = value.meta["shape"][2:], node.meta["shape"][2:]
        reach: Two = tuple(e * (k - 1) for e, k in zip(own, kernel, strict=True))  # type: ignore[assignment]
        over: Two = tuple(max(0, (o - 1) * s + r + 1 - n - 2 * p)  # type: ignore[assignment]
                          for o, s, r, n, p in zip(out, stride, reach, size, pad, strict=True))
        if max(pad) or max(over):
            self._padded(node, name, pad, over)
        if stride != (1, 1):
            self.strides.append(draft.address(node))
        d = grain.d
        far: Two = (own[0] * d[0], own[1] * d[1])
        wide: Two = (pad[0] * d[0], pad[1] * d[1])
        if stride != (1, 1) or far != own or wide != pad or max(over):
            {"conv2d": self._conv, "maxpool2d": self._maximum, "avgpool2d": self._average}[name](
                node, value, kernel, far, (wide, (over[0] * d[0], over[1] * d[1])))
        lost = tuple(g + r * n - 2 * w - o * n for g, r, n, w, o in zip(grain.short, reach, d, wide, over, strict=True))
        return Grain((d[0] * stride[0], d[1] * stride[1]), lost)  # type: ignore[arg-type]

    def _padded(self, node: Node, name: str, pad: Two, over: Two) -> None:
        address = self.draft.address(node)
        if not self.neighbours:
            said = f"pads its map by {pad[0]}×{pad[1]}" if max(pad) else f"has windows that reach {max(over)} beyond the map"
            self._refuse(node,
                         f"it {said}: a window by itself sees nothing there, a window of a larger image its neighbours",
                         "neighbours=True takes the neighbours; `convscope scan` is exact, padding included")
        if kinds.setting(self.draft, node, "padding_mode", "zeros") != "zeros":
            self._refuse(node, f"it pads with {kinds.setting(self.draft, node, 'padding_mode')} pixels", "pad with zeros")
        if name == "avgpool2d" and max(over):
            self._refuse(node, f"its last window stands out by {max(over)} and averages fewer places than the others",
                         "use ceil_mode=False, or `convscope scan`")
        self.pads.append(address)

    def _conv(self, node: Node, _: Node, kernel: Two, far: Two, pads: tuple[Two, Two]) -> None:
        if node.op == "call_function":
            packet: Any = torch.ops.aten.conv2d.default
            bias, groups = kinds.setting(self.draft, node, "bias"), kinds.setting(self.draft, node, "groups", 1)
            node.target, node.kwargs = packet, {}
            node.args = (*node.args[:2], bias, [1, 1], list(pads[0]), list(far), groups)
            return
        old: Any = self.draft.module(node)
        new = nn.Conv2d(old.in_channels, old.out_channels, kernel, 1, pads[0], far, old.groups, old.bias is not None,
                        device="meta")
        new.weight, new.bias = old.weight, old.bias
        self.draft.put(node, new)

    def _maximum(self, node: Node, value: Node, kernel: Two, far: Two, pads: tuple[Two, Two]) -> None:
        (top, left), (below, right) = pads
        fits = all(2 * p <= k for p, k in zip(pads[0], kernel, strict=True)) and not below + right  # as torch has it
        if not fits:
            sides = (left, left + right, top, top + below)
            value = self.draft.call(value, F.pad, value, sides,
                                    "constant", float("-inf"), name=f"{self.draft.address(node)}_pad")
        self._instead(node, nn.MaxPool2d(kernel, 1, pads[0] if fits else 0, far), value)

    def _average(self, node: Node, value: Node, kernel: Two, far: Two, pads: tuple[Two, Two]) -> None:
        divisor = kinds.setting(self.draft, node, "divisor_override") or kernel[0] * kernel[1]
        (top, left), _ = pads
        if top or left:
            value = self.draft.call(value, F.pad, value, (left, left, top, top), name=f"{self.draft.address(node)}_pad")
        if far == (1, 1):
            given = kinds.setting(self.draft, node, "divisor_override")
            self._instead(node, nn.AvgPool2d(kernel, 1, divisor_override=given), value)
        else:
            self._instead(node, parts.DilatedAverage(kernel, far, divisor), value)

    def _instead(self, node: Node, module: nn.Module, value: Node) -> None:
        if node.op == "call_module":
            self.draft.put(node, module)
            node.args = (value,)
            return
        made = self.draft.call(value, module, value, name=self.draft.address(node))
        made.meta["shape"] = node.meta["shape"]
        node.replace_all_uses_with(made)
        self.moved[node] = made

    # ---- the rest ----------------------------------------------------------------------------------------------------

    def _pad(self, node: Node, grain: Grain) -> Grain:
        """Padding as a layer of its own: last axis first, before and after."""
        given = kinds.setting(self.draft, node, "padding" if node.op == "call_module" else "pad")
        if node.op == "call_module" or (kinds.base(self.draft, node) == "pad" and node.args[2:] not in ((), ("constant",))):
            self._refuse(node, "it pads in a way that has no dense counterpart here", "let the convolution pad, with zeros")
        if not self.neighbours:
            self._padded(node, "", (1, 1), (0, 0))
        self.pads.append(self.draft.address(node))
        axes = grain.order[::-1]
        factor = {"h": grain.d[0], "w": grain.d[1]}
        amounts = [int(n) * factor.get(axes[i // 2], 1) for i, n in enumerate(given)]
        node.update_arg(1, amounts)
        added = {axes[i]: amounts[2 * i] + amounts[2 * i + 1] for i in range(len(amounts) // 2)}
        return replace(grain, short=(grain.short[0] - added.get("h", 0), grain.short[1] - added.get("w", 0)))

    def _join(self, node: Node, read: list[Node]) -> Grain:
        grains: list[Grain] = [self.grains[a] for a in read]
        first = grains[0]
        if any((g.d, g.order) != (first.d, first.order) for g in grains):
            said = " and ".join(f"{g.d[0]}×{g.d[1]}" for g in grains)
            self._refuse(node, f"maps of strides {said} meet", "use `convolutionalize`, which keeps the strides")
        short: Two = (max(g.short[0] for g in grains), max(g.short[1] for g in grains))
        for a, g in zip(read, grains, strict=True):
            if g.short != short:
                if first.order != IMAGE:
                    self._refuse(node, f"maps of axes {first.order} and of unlike sizes meet", "channels first")
                self._cut(a, node, (short[0] - g.short[0], short[1] - g.short[1]))
        return replace(first, short=short)

    def _cut(self, value: Node, reader: Node, ends: Two) -> None:
        """Take rows and columns away at the end."""
        cut = self.draft.call(value, F.pad, value, (0, -ends[1], 0, -ends[0]), name=f"{self.draft.address(value)}_cut")
        if reader is value:
            self.draft.redirect(value, cut, but=(cut,))
        else:
            reader.replace_input_with(value, cut)


def _dims(node: Node) -> list[int]:
    given: Any = node.args[1]
    return [int(i) for i in given]
