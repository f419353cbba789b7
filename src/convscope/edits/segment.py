"""A fully convolutional segmenter on a classifier's maps (Long, Shelhamer, Darrell 2015, "Fully Convolutional Networks for
Semantic Segmentation").

    s_L = W_L · f_L                          f_ℓ the map of level ℓ, W_ℓ a 1×1 convolution to K scores a position
    s_ℓ = W_ℓ · f_ℓ + up(s_{ℓ+1})            one line a skip; up: transposed convolution, bilinear to begin with
    y   = up(s_last)                         (K, H, W), as large as the image
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.fx import Node

from convscope.editing import Draft, Given, parts
from convscope.editing.backward.encoder import Level, last_map, levels
from convscope.editing.modules import constructor
from convscope.errors import UsageError
from convscope.fields import param, validate


@dataclass(frozen=True)
class Segment:
    """Which class has each pixel?

    The classifier's maps are scored position by position and enlarged to the image: y = up(Σ skips), as in the file's head.
    skips 0, 1, 2 on an encoder of stride 32 are FCN-32s, -16s, -8s: each skip scores one finer map and adds it. Output
    (B, K, H, W), logits, for any H and W: maps whose sizes were rounded are aligned by their receptive fields and cut to the
    image. Long et al. keep the dense layers as convolutions; here the encoder ends before the head, or where `upto` says
    (`convolutionalize` first to keep them). Unlike theirs, each class is enlarged by itself (no weights between classes).
    As theirs: the last enlargement is fixed, the ones between are learned, skips begin with weights of zero.

    Misleads: enlarging adds no detail; what the last map has lost comes back through skips only, or not at all. Errors:
    UsageError (fewer resolutions than skips, no maps), UnknownName. Source: Long et al. 2015.

    >>> import convscope as cs
    >>> cs.edit("zoo:lenet5", "segment", outputs=3, skips=1)[1].after.output
    (3, 28, 28)
    """

    outputs: int = param(0, "classes; 0: as many as the network has", unit="classes", low=0)
    skips: int = param(2, "finer maps that are scored as well; 0: the last map alone", low=0)
    upto: str = param("", "layer where the encoder ends; empty: the last map before the head")
    upsampling: str = param("fixed-end", "enlargement: fixed (bilinear), learned, or learned but for the last one",
                            choices=("fixed-end", "fixed", "learned"))
    seed: int = param(0, "seed of the scoring weights", low=0)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, draft: Draft, given: Given) -> None:  # noqa: ARG002 - it needs no images
        end = last_map(draft, self.upto)
        found = levels(draft, end)
        if self.skips >= len(found):
            strides = ", ".join(level.text for level in found)
            raise UsageError(f"{self.skips} skips into {draft.net.name}",
                             f"it has {len(found)} resolutions up to {draft.address(end)}: strides {strides}",
                             f"skips={len(found) - 1}")
        classes = self.outputs or draft.shape(draft.output)[0]
        if classes != len(draft.classes):
            draft.classes = ()
        ways = found[::-1][: self.skips + 1]  # the coarsest first
        last = end
        total: Node | None = None
        for at, level in enumerate(ways):
            scores = last = self._score(draft, last, level, classes, first=at == 0)
            if total is not None:
                up = self._enlarged(draft, last, total, (ways[at - 1], level), classes)
                scores = last = draft.call(up, parts.Add(), scores, up, name=f"segment.sum{level.text}")
                draft.say(f"segment.sum{level.text}: both added",
                          f"z = z + score{level.text}(maps[{draft.address(level.node)!r}])")
            total = scores
        assert total is not None
        answer = self._enlarged(draft, last, total, (ways[-1], None), classes)
        next(n for n in draft.root.graph.nodes if n.op == "output").args = (answer,)
        draft.note(f"scores of {ways[0].text} px a step drawn at random with seed {self.seed}"
                   + (", those of the skips begin at zero" if self.skips else "") + "; biases zero: train it first")

    def _score(self, draft: Draft, after: Node, level: Level, classes: int, first: bool) -> Node:
        channels, h, w = draft.shape(level.node)
        made = nn.Conv2d(channels, classes, 1)
        assert made.bias is not None
        nn.init.zeros_(made.bias)
        if not first:
            nn.init.zeros_(made.weight)
        address, name = draft.address(level.node), f"score{level.text}"
        code = [f"{name} = {constructor(made)}"]
        if first:
            code = ["# maps: the values of the layers by their addresses", *code, f"z = {name}(maps[{address!r}])"]
        size = f"{channels}×{h}×{w}, {level.text} px a step"
        draft.say(f"segment.{name}: {classes} scores a position on {address} ({size})", *code)
        return draft.call(after, made, level.node, name=f"segment.{name}")

    def _enlarged(self, draft: Draft, after: Node, scores: Node, between: tuple[Level, Level | None], classes: int) -> Node:
        """From one level to a finer one, or to the image."""
        coarse, fine = between
        factor, shift = [], []
        for axis, field in enumerate(coarse.fields):
            other = None if fine is None else fine.fields[axis]
            ratio = field.stride / (1 if other is None else other.stride)
            assert field.centre is not None
            if ratio.denominator != 1:
                raise UsageError(f"enlarging {draft.address(coarse.node)}",
                                 f"it is {float(ratio):g} times as coarse as the next",
                                 "end the encoder at another layer: upto=LAYER")
            start = field.centre
            if other is not None and other.centre is not None:
                start = (start - other.centre) / other.stride
            factor.append(int(ratio))
            shift.append(round(float(start - (ratio - 1) / 2) - 0.25))  # a half goes down, on every level alike
        same = len(set(factor)) == len(set(shift)) == 1
        scale: tuple[Any, Any] = (factor[0], shift[0]) if same else (tuple(factor), tuple(shift))
        made = parts.Enlarge(classes, *scale)
        like = draft.input if fine is None else fine.node
        if self.upsampling == "fixed" or (self.upsampling == "fixed-end" and fine is None):
            made.requires_grad_(False)
        name = f"up{coarse.text}"
        size = "the image" if fine is None else draft.address(fine.node)
        times = "×".join(str(f) for f in dict.fromkeys(factor))
        kept = "bilinear, " + ("learned" if made.weight.requires_grad else "fixed")
        draft.say(f"segment.{name}: {times} times as large, {kept}, cut to the size of {size}",
                  f"z = nn.functional.interpolate(z, scale_factor={tuple(factor)}, mode='bilinear')  # cut to {size}")
        return draft.call(after, made, scores, like, name=f"segment.{name}")
