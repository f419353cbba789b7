"""Dream, or Inceptionism: change a photograph until a layer sees more of what it sees already (Mordvintsev et al. 2015).

    s ← clip(s + 1.5 levels · g / mean|g|),   g = ∂/∂s ½ mean a²           a: the layer's values; at four scales, 1.4 apart
    with a guide image:                       g = ∂/∂s mean_p max_q ⟨a_p, b_q⟩      b: the guide's values at the layer

See `_octaves.py` for the ascent. Source: Mordvintsev, Olah, Tyka 2015 ("Inceptionism"; step, jitter, octaves and guide as
in the notebook that they published with it).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from convscope import inputs
from convscope.errors import UsageError
from convscope.features._given import NOTHING, Given
from convscope.features._octaves import Dreamed, Octaves, View, levels
from convscope.fields import param, validate
from convscope.images import Preprocess
from convscope.network import Network
from convscope.results import Picture
from convscope.synthesis import objective
from convscope.synthesis.forward import Cut
from convscope.synthesis.image import Reading
from convscope.synthesis.loop import generator
from convscope.synthesis.objective import Activity, Objective, Place, Seen
from convscope.synthesis.response import quantised, tiles

MOST = 512 << 20  # bytes of frames kept in memory
ROWS = 1 << 22  # products of guide and image computed at a time


@dataclass(frozen=True)
class Dream:
    """What does a layer see in a photograph, exaggerated?

    Two tiles (H, W, 3) uint8, 'original' and 'dream', as large as the photograph; with `frames` also those on the way,
    'step n'. The target is a layer (½ mean a² grows, a as the layer gives it), or a unit, class or sum of these in words
    ('conv3/5 - 0.5*class:tabby'; a unit's mean, before the activation function). With a guide image each place of the layer
    grows towards the best-matching place of the guide. Without an image it starts from noise. `values`: 'objective' of each
    tile, in the layer's units (squared for a layer). Pixels stay within black and white. Same seed, same bits.

    Misleads: what appears depends on scale, steps and photograph as much as on the layer; it shows what *can* be read into
    the image, not what decided. Tiles of a large image are seen without their surroundings, so a class or a position is one
    of each tile. Errors: UsageError for a network that reads no images, a guide without a layer, too many frames; ShapeError
    for an image too small or with other channels; UnknownName. Source: Mordvintsev, Olah, Tyka 2015.

    >>> import torch
    >>> net = Network.open(torch.nn.Conv2d(3, 4, 3), (3, 16, 16))
    >>> Dream(steps=2)(net, "conv2d", Given(image=np.zeros((40, 30, 3), np.uint8))).tiles.shape
    (2, 40, 30, 3)
    """

    octaves: int = param(4, "scales, from the smallest to the photograph's own", low=1, high=20)
    ratio: float = param(1.4, "how much larger each scale is than the one before", low=1.05, high=4)
    steps: int = param(10, "steps at each scale", low=1)
    step_size: float = param(1.5, "mean change of a pixel at each step", unit="levels of 255", low=0.01)
    jitter: int = param(32, "largest shift before each step; less at scales below 224 px", unit="px", low=0)
    size: int = param(0, "longer side of the dream; 0: the photograph's own", unit="px", low=0)
    tile: int = param(512, "longest side that is looked at in one piece: smaller takes less memory", unit="px", low=32)
    frames: int = param(1, "pictures of the way, the last one included, for an animation", low=1)
    seed: int = param(0, "seed of the shifts, and of the noise where no image is given", low=0)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, net: Network, target: str, given: Given = NOTHING) -> Picture:
        """The photograph, and what the target makes of it."""
        preprocess, assumed = inputs.preprocess_of(net)
        nets = (net, *given.more.get("against", ()))
        goal, whose = _goal(nets, target, given, preprocess)
        random = generator(self.seed, target)
        start, origin = self._start(net, given, preprocess, random)
        h, w = start.shape[1:]
        if self.frames * h * w * 3 > MOST:
            raise UsageError(f"{self.frames} frames of {w}×{h} px", f"they would take {self.frames * h * w * 3 >> 20:,} MiB",
                             f"ask for {MOST // (h * w * 3)} at most, or for a smaller --size")
        view = View(nets, goal, Reading(preprocess, net.input_shape[1]), self.tile)
        ascent = Octaves(self.octaves, self.ratio, self.steps, self.step_size, self.jitter)
        found = ascent(view, start, random, self.frames, given.progress)
        names = ("original", *(f"step {n}" for n in found.frames), "dream")
        kept = [start, *(frame / 255 for frame in found.frames.values()), found.image]
        values = np.array([view.score(quantised(image)) for image in kept])
        notes = (origin, whose, *self._said(view, (h, w), found), assumed)
        return Picture(tiles=np.concatenate([tiles(image[None]) for image in kept]), units=names, scale="rgb",
                       title=f"dream of {target}", values={"objective": values}, notes=tuple(n for n in notes if n),
                       origin=net.origin(self, seed=self.seed))

    def _start(self, net: Network, given: Given, preprocess: Preprocess, random: torch.Generator) -> tuple[Tensor, str]:
        """(C, H, W) within 0 … 1, and a sentence where it is noise."""
        if given.image is not None:
            return levels(preprocess, given.image, self.size), ""
        _, channels, *own = net.input_shape
        h, w = (max(1, round(n * self.size / max(own))) if self.size else n for n in own)
        noise = 0.4 + 0.2 * torch.rand((channels, h, w), generator=random)
        return noise, f"no image given: started from grey noise, seed {self.seed}"

    def _said(self, view: View, size: tuple[int, int], found: Dreamed) -> list[str]:
        """How the image was looked at, and what did not go as asked."""
        scales, pieces, own, notes = self.octaves - found.left, view.pieces(size), view.own, list[str]()
        notes.append(f"{scales} scale{'s' * (scales > 1)}, {scales * self.steps} steps of {self.step_size:g} levels")
        if found.left:
            notes.append(f"{found.left} of {self.octaves} scales left out: so small an image leaves nothing at the layer")
        if own is not None:
            notes.append(f"the network reads {own[1]}×{own[0]} px only: {pieces} such window{'s' * (pieces > 1)}, "
                         "overlapping where they must; smaller scales are enlarged to it")
        elif pieces > 1:
            notes.append(f"seen in {pieces} tiles of at most {self.tile} px, their borders elsewhere at each step")
        if found.blocked:
            notes.append(f"no gradient came back at {found.blocked} of {scales * self.steps} steps: the image stayed")
        if self.frames > len(found.frames) + 1:
            notes.append(f"{len(found.frames) + 1} of {self.frames} frames: there are no more steps")
        return notes


def _goal(nets: Sequence[Network], target: str, given: Given, preprocess: Preprocess) -> tuple[Objective, str]:
    """What is to grow, and a sentence about the guide."""
    guide, net = given.more.get("guide"), nets[0]
    if guide is not None:
        if target not in net:
            raise UsageError(f"a guide for {target!r}", "it guides a whole layer", f"name one: {net.layers[0].address}, …")
        layer = net[target].address
        x = torch.from_numpy(np.ascontiguousarray(preprocess(guide)))[None].to(net.device, net.dtype)
        with torch.no_grad():
            value = Cut(net, [layer])(x)[layer].movedim(net[layer].unit_axis or 1, 1)[0]
        return Guided(layer, value.reshape(len(value), -1)), "grows towards the guide image, as the network reads it"
    if target in net:
        return Activity(net[target].address), ""
    return objective.parse(nets, target, unit="channel"), ""


@dataclass(frozen=True, eq=False)
class Guided(Objective):
    """mean_p max_q ⟨a_p, b_q⟩: every place of a layer resembles the best-matching place of a guide (U, Q) more."""

    layer: str
    guide: Tensor

    def places(self) -> frozenset[Place]:
        return frozenset({Place(0, self.layer)})

    def score(self, seen: Seen) -> Tensor:
        value = seen.at(Place(0, self.layer))
        a = value.reshape(*value.shape[:2], -1).transpose(1, 2)  # (B, P, U)
        b = self.guide.to(a)
        rows = max(1, ROWS // b.shape[1])
        with torch.no_grad():
            best = torch.cat([(part @ b).argmax(2) for part in a.split(rows, 1)], 1)  # (B, P)
        return (a * b.T[best]).sum(2).mean(1)
