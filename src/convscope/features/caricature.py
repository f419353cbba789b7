"""Caricature: from noise, an image whose representation points where a photograph's does, only further (Olah et al. 2017).

    x* = argmax_x ⟨a(shake(x)), b⟩/‖b‖² · max(0.1, cos(a, b))^power        a, b: the layer's values, b the photograph's

See `convscope.synthesis` for the ascent. Sources: Olah, Mordvintsev, Schubert 2017; caricatures with a power of the cosine:
Lucid's notebooks on feature inversion (2018).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope import inputs
from convscope.errors import UsageError
from convscope.features._given import NOTHING, Given
from convscope.features._making import colours_of, words_of
from convscope.features._octaves import shown
from convscope.fields import param, validate
from convscope.network import Network
from convscope.results import Picture
from convscope.synthesis.forward import Cut
from convscope.synthesis.image import Image, Reading
from convscope.synthesis.loop import Ascent, Wanted
from convscope.synthesis.objective import Objective, Place, Seen
from convscope.synthesis.response import quantised, tiles
from convscope.synthesis.shake import LUCID

LEAST = 0.1  # of the cosine: below it the power would leave no gradient


@dataclass(frozen=True)
class Caricature:
    """What does a layer keep of a photograph, and what does it overdo?

    Two tiles (H, W, 3) uint8: 'image', the photograph as the network reads it, and 'caricature'; with `frames` also the
    way there, 'step n'. `values` of each tile: 'cosine' between its representation and the photograph's, −1 … 1, over all
    units and positions of the layer as it gives them, and 'strength' ⟨a, b⟩/‖b‖², which is 1 for the photograph and
    more where the caricature exaggerates. Same seed, same bits.

    Misleads where the cosine is low: then it is a picture of something else. It is no inversion: what is missing here may be
    in the layer, but weakly. Errors: UsageError without an image, for a unit in place of a layer, for a network that reads
    no images, and where the layer gives nothing but zeros for the photograph; UnknownName. Source: Olah, Mordvintsev,
    Schubert 2017.

    >>> Caricature(steps=64).power
    1.0
    """

    power: float = param(1.0, "power of the cosine: more keeps closer to the image, 0 exaggerates freely", low=0, high=8)
    steps: int = param(256, "steps of the ascent", low=1)
    rate: float = param(0.05, "learning rate of Adam", low=1e-6)
    shake: float = param(1.0, "how much the image is moved before each step; 1: Lucid's amounts", low=0, high=4)
    colours: str = param("own", "'own': of the given images, else ImageNet's for three channels",
                         choices=("own", "imagenet", "independent"))
    frames: int = param(1, "pictures of the way, the last one included, for an animation", low=1)
    seed: int = param(0, "seed of the start and of every move", low=0)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, net: Network, target: str, given: Given = NOTHING) -> Picture:
        """The photograph, and what the layer makes of it."""
        preprocess, assumed = inputs.preprocess_of(net)
        if target not in net and "/" in target:
            raise UsageError(f"a caricature by {target!r}", "it is made by a whole layer", f"ask {target.split('/')[0]!r}")
        layer = net[target].address
        photograph = quantised(shown(preprocess, preprocess(given.wanted_image("a caricature"))))
        read = Reading(preprocess, net.input_shape[1])
        wanted = _values(net, layer, photograph, read)
        if not wanted.any():
            raise UsageError(f"a caricature by {layer}", "all its values are zero for this photograph", "try another layer")
        height, width = photograph.shape[1:]
        colours = colours_of(net, given, self.colours)
        every = -(-self.steps // self.frames)
        ascent = Ascent((net,), Image("fourier", (height, width), colours), read, LUCID.times(self.shake), self.steps,
                        self.rate, self.seed, every=every)
        found = ascent([Wanted(target, Alike(layer, wanted, self.power))], given.progress)
        on_the_way = found.frames[: (self.steps - 1) // every]
        kept = [photograph, *(frame[0] for frame in on_the_way), found.images[0]]
        names = ("image", *(f"step {every * (i + 1)}" for i in range(len(on_the_way))), "caricature")
        notes = (f"{self.steps} steps from noise, {width}×{height} px", "the image as the network reads it",
                 colours.source, *words_of(found, (target,)),
                 f"{len(on_the_way) + 1} frames, one each {every} steps" if self.frames > 1 else "", assumed)
        return Picture(tiles=np.concatenate([tiles(image[None]) for image in kept]), units=names, scale="rgb",
                       title=f"caricature by {target}", values=_alike([_values(net, layer, s, read) for s in kept], wanted),
                       notes=tuple(n for n in notes if n), origin=net.origin(self, seed=self.seed))


def _values(net: Network, layer: str, image: Tensor, read: Reading) -> Tensor:
    """(U, …) what the layer gives for an image (C, H, W) within 0 … 1, as it is shown."""
    with torch.no_grad():
        value = Cut(net, [layer])(read(quantised(image)[None]).to(net.device, net.dtype))[layer]
    return value.movedim(net[layer].unit_axis or 1, 1)[0]


def _alike(values: Sequence[Tensor], wanted: Tensor) -> dict[str, NDArray[Any]]:
    """Cosine and strength of each representation beside the photograph's."""
    b = wanted.double().flatten()
    products = [(float(a.double().flatten() @ b), float(a.double().norm())) for a in values]
    size = float(b.norm())
    return {"cosine": np.array([dot / (norm * size) if norm else 0.0 for dot, norm in products]),
            "strength": np.array([dot / size**2 for dot, _ in products])}


@dataclass(frozen=True, eq=False)
class Alike(Objective):
    """⟨a, b⟩/‖b‖² · max(0.1, cos(a, b))^power with b (U, …) kept fixed; 1 for b itself."""

    layer: str
    wanted: Tensor
    power: float

    def places(self) -> frozenset[Place]:
        return frozenset({Place(0, self.layer)})

    def score(self, seen: Seen) -> Tensor:
        a, b = seen.at(Place(0, self.layer)).flatten(1), self.wanted.flatten()
        along = a @ b
        cosine = along / (a.norm(dim=1) * b.norm()).clamp(min=1e-12)
        return along / (b @ b) * cosine.clamp(min=LEAST) ** self.power
