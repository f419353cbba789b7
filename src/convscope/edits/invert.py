"""A layer, or a span of layers, applied backwards with its own weights.

    x → y = f(x) → v (y, or one unit of it) → vᵀ·∂f/∂x̃          x̃: what the layer reads, or the image

Linear layers have one way back, their transpose. Nonlinear ones have several readings: `nonlinear`, `overlap`.

Sources: Zeiler and Fergus 2014, "Visualizing and Understanding Convolutional Networks", section 2.1; Simonyan, Vedaldi and
Zisserman 2014, "Deep Inside Convolutional Networks", section 4.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch.fx import Interpreter, Node

from convscope import addresses
from convscope.editing import Draft, Given
from convscope.editing.backward.backwards import Backwards, ways
from convscope.editing.given import MOST
from convscope.errors import UsageError
from convscope.fields import param, validate


@dataclass(frozen=True)
class Invert:
    """What comes back when a layer is applied backwards?

    The new network reads the same images x, runs to the end of the span, and sends a signal v of that size back:
    out = vᵀ·∂y/∂x̃, of the size of x̃, which `layer` reads. `layer` alone: that layer or block; `layer`…`upto`: from what
    `layer` reads to the end of `upto`, on all ways between; `upto` alone: back to the image; neither: the first layer with
    weights. `signal`: v = y, 1, or y where a channel is largest and else 0; `unit`: of one channel only, '37' or '37@5,9'.

    What for: a picture of what a unit answers to in *this* image (`upto=conv3 unit=37 signal=largest`); how much of x a
    layer passes on; a decoder with tied weights, to begin training from.
    Misleads: it is the transpose of the derivative, not the inverse function: it does not give x̃ back, and its scale is not
    that of x̃. With `nonlinear=derivative overlap=add` it is the gradient exactly. In train() the way back of batch norm uses
    its running statistics and that of dropout passes v. Images of one size only. Errors: UsageError.
    Source: Zeiler & Fergus 2014; Simonyan et al. 2014.

    >>> import convscope as cs
    >>> cs.edit("zoo:lenet5", "invert", layer="pool1")[1].changes[0]
    'pool1 backwards: 6×14×14 → 6×28×28'
    """

    layer: str = param("", "from what this layer or block reads; empty: from the image")
    upto: str = param("", "to the value of this layer or block; empty: the same layer")
    unit: str = param("", "a channel of the end, '37', or one position of it, '37@5,9'; empty: all")
    signal: str = param("value", "what is sent back: the value there, ones, or the largest value of each channel alone",
                        choices=("value", "ones", "largest"))
    nonlinear: str = param("derivative", "on the way back v·φ′(x), or φ(v) (deconvolution pictures), or v as it is",
                           choices=("derivative", "apply", "pass"))
    overlap: str = param("add", "where several maxima stand at one place: add (the gradient) or overwrite (unpooling)",
                         choices=("add", "overwrite"))
    parent: int = param(0, "of a layer that reads several values: back to which, counted from 0", low=0)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, draft: Draft, given: Given) -> None:
        source, end = self._span(draft)
        way = Backwards(draft, self.nonlinear, self.overlap)
        way.at = end
        signal = self._signal(draft, way, end)
        back = way.through(source, end, signal)
        next(n for n in draft.root.graph.nodes if n.op == "output").args = (back,)
        draft.classes = ()
        draft.measure()
        named = f"{self.layer} … {self.upto}" if self.layer and self.upto else self.upto or self.layer or draft.address(end)
        draft.say(f"{named} backwards: {_by(draft.shape(end))} → {_by(draft.shape(source))}",
                  *way.code())
        through = ", ".join(f"{count} {kind}" for kind, count in way.met.items())
        draft.say(f"sent back: {self._sent()}, through {through}")
        if self.nonlinear == "derivative" and self.overlap == "add":
            draft.note("nonlinear=derivative overlap=add: this is the gradient, the vector–Jacobian product")
        else:
            draft.note(f"nonlinear={self.nonlinear} overlap={self.overlap}: where it has such layers, not the gradient")
        if given.images is not None:
            self._compare(draft, given, source, back)

    def _span(self, draft: Draft) -> tuple[Node, Node]:
        """What the way back ends at, and the call where it begins."""
        if not self.layer and not self.upto:
            modules = [n for n in draft.nodes if n.op == "call_module"]
            first = [n for n in modules if getattr(draft.module(n), "weight", None) is not None][:1] or draft.nodes[:1]
            return self._read(draft, first), first[0]
        asked = draft.under(self.layer) if self.layer else []
        end = (draft.under(self.upto) if self.upto else asked)[-1]
        draft.shape(end)
        source = self._read(draft, asked) if asked else draft.input
        between = ways(draft, source, end)
        if end not in between or (asked and not set(asked) & set(between)):
            raise UsageError(f"from {self.layer or 'the image'} to {self.upto or self.layer}",
                             f"{draft.address(end)} does not depend on {self.layer or 'the image'}",
                             "name a layer that comes after it: upto=…")
        return source, end

    def _read(self, draft: Draft, asked: list[Node]) -> Node:
        """The value that comes into a layer or block: of several, the one asked for."""
        coming = dict.fromkeys(a for n in asked for a in n.all_input_nodes
                               if a.op != "get_attr" and a not in asked and a.meta.get("shape"))
        if self.parent >= len(coming):
            there = ", ".join(draft.address(a) for a in coming) or "nothing"
            raise UsageError(f"parent {self.parent} of {self.layer or draft.address(asked[0])}",
                             f"it reads {len(coming)}: {there}", "count from 0")
        return list(coming)[self.parent]

    def _signal(self, draft: Draft, way: Backwards, end: Node) -> Node:
        """v: a value of the size of `end`, zero beside the unit that was asked for."""
        size = draft.shape(end)
        cuts: list[tuple[int, int, int]] = []  # axis, begin, length
        if self.unit:
            if not re.fullmatch(r"\d+(@\d+(,\d+)*)?", self.unit):
                raise UsageError(f"unit={self.unit!r}", "it is no channel and no position", "for example unit=3, unit=3@5,9")
            asked = addresses.parse(f"x/{self.unit}")
            at = (asked.channel or 0, *(asked.position or ()))
            if len(at) not in (1, len(size)) or any(i >= n for i, n in zip(at, size, strict=False)):
                raise UsageError(f"unit {self.unit} of {draft.address(end)}", f"its value is {_by(size)}",
                                 "count from 0: channel, or channel@row,column")
            cuts = [(axis + 1, i, 1) for axis, i in enumerate(at)]
        value = end
        for cut in cuts:
            value = way.call(end, torch.narrow, value, *cut)
        if self.signal == "ones":
            value = way.call(end, torch.ones_like, value)
        if self.signal == "largest":
            axes = list(range(2, len(size) + 1)) or [1]
            highest = way.call(end, torch.amax, value, axes, keepdim=True)
            value = way.call(end, torch.mul, value, way.call(end, torch.eq, value, highest))
        around = [n for axis, i, _ in reversed(cuts) for n in (i, size[axis - 1] - i - 1)]
        behind = [0, 0] * (len(size) - len(cuts))
        return way.call(end, F.pad, value, (*behind, *around)) if cuts else value

    def _sent(self) -> str:
        what = {"value": "the value", "ones": "ones", "largest": "the largest value of each channel"}[self.signal]
        return f"{what} of unit {self.unit}" if self.unit else what

    @staticmethod
    def _compare(draft: Draft, given: Given, source: Node, back: Node) -> None:
        """How much of what the layer reads comes back: its direction, since the scale of the two is not the same."""
        alike: list[float] = []
        for batch in given.batches(draft.net, MOST):
            kept = Interpreter(draft.root, garbage_collect_values=False)
            with torch.no_grad():
                kept.run(batch)
            there, again = (kept.env[n].flatten(1) for n in (source, back))
            alike += torch.cosine_similarity(there, again).tolist()
        was = "the image" if source is draft.input else f"the value of {draft.address(source)}"
        draft.note(f"on {len(alike)} images: cosine of what comes back with {was}, on average "
                   f"{sum(alike) / len(alike):.3f}; 1 would be the same but for its scale")


def _by(size: tuple[int, ...]) -> str:
    return "×".join(map(str, size)) or "one number"
