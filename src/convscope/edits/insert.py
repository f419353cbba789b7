"""A layer more: a 1×1 convolution, a convolution, batch norm, dropout, or a shortcut around a span.

    y = g(i(f(x)))             i(v) = v at first, where it can be: the answers stay, and training may leave from there
    y = f(x) + s(x)            a shortcut s, its scale 0 at first
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.fx import Node

from convscope.editing import Draft, Given
from convscope.editing.modules import constructor
from convscope.editing.units.fits import joiner, times
from convscope.editing.units.measuring import moments
from convscope.editing.units.shortcuts import shortcut
from convscope.errors import ShapeError, UsageError
from convscope.fields import param, validate


@dataclass(frozen=True)
class Insert:
    """What does one more layer do here?

    What comes in behind the layer `after`: `bottleneck` (1×1 convolution, C → width → C; a dense layer for a vector),
    `conv` (size×size, C → C, with a ReLU where what comes in went through one), `batch-norm`, `dropout`, or `shortcut`: the
    value of `after` added to that of `upto`, by a 1×1 convolution where their sizes part. `preserve`: begin as the identity
    (batch norm: scale and shift undo its statistics, measured on the images; a narrow bottleneck: the principal components
    of the images' values, else the first `width` channels; shortcut: a scale of 0), so that the answers stay.
    Misleads: a narrow bottleneck cannot keep all answers; dropout acts in training only. Errors: UsageError, ShapeError.
    Source: Chen et al. 2016 (Net2DeeperNet); Lin et al. 2014 (1×1); He et al. 2016 (shortcuts); Ioffe & Szegedy 2015.

    >>> import convscope as cs
    >>> cs.edit("zoo:lenet5", "insert", what="dropout", after="conv1", rate=0.2)[1].changes
    ('dropout of 0.2 after conv1 (6×28×28): conv1_dropout',)
    """

    what: str = param("bottleneck", "what comes in", choices=("bottleneck", "conv", "batch-norm", "dropout", "shortcut"))
    after: str = param("", "layer behind which it comes in")
    upto: str = param("", "shortcut: the layer to whose value it is added")
    width: int = param(0, "bottleneck: its channels; 0: as many as there are", low=0)
    size: int = param(3, "conv: its kernel, an odd number", unit="px", low=1, high=31)
    rate: float = param(0.5, "dropout: the share that is dropped in training", low=0.0, high=0.99)
    preserve: bool = param(True, "begin so that the answers stay")
    seed: int = param(0, "initial weights, where they are random")

    def __post_init__(self) -> None:
        validate(self)
        if self.size % 2 == 0:
            raise UsageError("Insert.size must be odd", f"got {self.size}", "3 or 5: a kernel with a middle")

    def __call__(self, draft: Draft, given: Given) -> None:
        if not self.after:
            raise UsageError("insert needs a place", "no layer was named", "after='conv1'; `convscope trace` lists all")
        node = draft[self.after]
        shape = draft.shape(node)
        if len(shape) not in (1, 3):
            raise ShapeError(f"nothing can be put behind {self.after}", f"its value is {times(shape) or 'one number'}",
                             "choose a layer with maps C×h×w or a vector")
        if self.what == "shortcut":
            shortcut(draft, self.after, self.upto, self.preserve)
            return
        layer, words = getattr(self, f"_{self.what.replace('-', '_')}")(draft, given, node)
        name = f"{self.after.split(':')[0]}_{self.what.replace('-', '_')}"
        last = node
        for i, module in enumerate(layer):
            last = draft.insert(last, module, name if i == 0 else f"{name}_{i + 1}")
        text = constructor(layer[0]) if len(layer) == 1 else f"nn.Sequential({', '.join(map(str, map(constructor, layer)))})"
        draft.say(f"{words} after {self.after} ({times(shape)}): {name}", *self._told(draft, name, text))
        draft.measure()
        if not self.preserve and self.what in ("bottleneck", "conv"):
            draft.note(f"{name} begins at random, as torch initialises it, seed {self.seed}")

    def _told(self, draft: Draft, name: str, text: str | None) -> tuple[str, ...]:
        held = {} if draft.net.module is None else dict(draft.net.module.named_modules())
        place = draft.python(self.after)
        if self.after in held and sum(n.target == self.after for n in draft.nodes) == 1:
            return (f"{place} = nn.Sequential({place}, {text})",)
        return (f"# {draft.python(name)} = {text}", f"# in forward, behind {self.after}: x = {draft.python(name)}(x)")

    # ---- what comes in: modules, and words -----------------------------------------------------------------------------

    def _bottleneck(self, draft: Draft, given: Given, node: Node) -> tuple[list[nn.Module], str]:
        shape = draft.shape(node)
        count, width = shape[0], self.width or shape[0]
        kind = "dense layer" if len(shape) == 1 else "1×1 convolution"
        if width == count:
            made: Any = joiner(count, count, len(shape) == 1)
            return [_fresh(made, self.preserve)], f"a {kind} of {count} channels"
        made = [nn.Linear(a, b) if len(shape) == 1 else nn.Conv2d(a, b, 1) for a, b in ((count, width), (width, count))]
        if self.preserve:
            kept = self._principal(draft, given, node, made) if given.images is not None and width < count else ""
            if not kept:
                with torch.no_grad():
                    for each in made:
                        each.weight.copy_(joiner(each.weight.shape[1], each.weight.shape[0], len(shape) == 1).weight)
                        each.bias.zero_()
                    made[1].weight[:, count:] = 0
                if width < count:
                    made[1].weight.data[width:] = 0
                kept = f"keeps the first {width} channels" if width < count else "keeps all channels"
            draft.note(f"the bottleneck {kept}")
        return made, f"a bottleneck of {kind}s, {count} → {width} → {count} channels"

    def _principal(self, draft: Draft, given: Given, node: Node, made: list[Any]) -> str:
        """v → Pᵀ·P·(v − μ) + μ with the principal components P of the values at every place of the images."""
        count, mean, square = moments(draft, given, node)
        values, vectors = torch.linalg.eigh(square - mean[:, None] * mean[None, :])
        kept = vectors[:, -made[0].weight.shape[0] :].T  # (width, C)
        for each, weight, bias in ((made[0], kept, -kept @ mean), (made[1], kept.T, mean)):
            each.weight.data.copy_(weight.reshape(each.weight.shape))
            each.bias.data.copy_(bias)
        share = float(values[-len(kept) :].sum() / values.sum().clamp_min(1e-30))
        return f"keeps {share:.1%} of the variance of {count:,} values (principal components on the images)"

    def _conv(self, draft: Draft, given: Given, node: Node) -> tuple[list[nn.Module], str]:  # noqa: ARG002
        shape = draft.shape(node)
        if len(shape) == 1:
            raise ShapeError(f"no convolution behind {self.after}", f"its value is a vector of {shape[0]} numbers",
                             "choose a layer with maps, or what='bottleneck': a dense layer")
        made = nn.Conv2d(shape[0], shape[0], self.size, padding=self.size // 2)
        if self.preserve:
            nn.init.dirac_(made.weight)
            nn.init.zeros_(made.bias)  # type: ignore[arg-type]
        bent = draft.kind(node) in ("ReLU", "relu.default")
        words = f"a {self.size}×{self.size} convolution of {shape[0]} channels"
        return ([made, nn.ReLU()], f"{words} and a ReLU") if bent else ([made], words)

    def _batch_norm(self, draft: Draft, given: Given, node: Node) -> tuple[list[nn.Module], str]:
        shape = draft.shape(node)
        made = (nn.BatchNorm1d if len(shape) == 1 else nn.BatchNorm2d)(shape[0])
        held: Any = made
        if given.images is not None:
            count, mean, square = moments(draft, given, node)
            held.running_mean.copy_(mean)
            held.running_var.copy_((square.diagonal() - mean**2).clamp_min(0))
            draft.note(f"batch norm: mean and variance of {count:,} values of the images")
        else:
            draft.note("batch norm: mean 0 and variance 1, no images were given; training measures them anew")
        if self.preserve:
            with torch.no_grad():
                made.weight.copy_((held.running_var.double() + made.eps).sqrt())
                made.bias.copy_(held.running_mean)
        return [made], "batch norm"

    def _dropout(self, draft: Draft, given: Given, node: Node) -> tuple[list[nn.Module], str]:  # noqa: ARG002
        return [nn.Dropout(self.rate)], f"dropout of {self.rate:g}"


def _fresh(made: nn.Module, preserve: bool) -> Any:
    if not preserve:
        made.reset_parameters()  # type: ignore[operator]
    return made
