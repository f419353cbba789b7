"""The image that a unit responds to most, found by gradient ascent (Erhan, Bengio, Courville, Vincent 2009).

    x* = argmax_x a[u](shake(x)),   x = image(θ):  Fourier coefficients in decorrelated colours (Olah et al. 2017)

See `convscope.synthesis` for the parts: objective × image × shake × loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from convscope import inputs
from convscope.errors import UsageError
from convscope.features._given import NOTHING, Given
from convscope.features._making import (
    Asked,
    asked_units,
    between,
    canvas_of,
    colours_of,
    elsewhere,
    judged,
    magnitude_of,
    words_of,
)
from convscope.fields import param, validate
from convscope.network import Network
from convscope.results import Picture
from convscope.synthesis.image import Image, Reading
from convscope.synthesis.loop import Ascent, Wanted
from convscope.synthesis.objective import Apart, Spread
from convscope.synthesis.response import tiles
from convscope.synthesis.shake import LUCID

WAY = 6  # pictures from one unit to another, at least


@dataclass(frozen=True)
class ActivationMaximisation:
    """Which image does this unit respond to most?

    One tile a picture (H, W, 3) uint8: of the target's unit, of each unit of a layer (the first `most`), or of an objective
    in words, 'conv3/5 + 0.5*conv4/7 - class:tabby'. `values`: for units 'response', max_p a[u, p] to the picture as
    shown (min_p where the sign is negative), in the layer's own units; where a sweep's record is given also 'strongest', the
    same over real images, and 'converged', whether the picture is stronger. Same seed, same bits.

    Misleads where it has not converged, and about what a unit *needs*: many images excite it, this is one; `variants` shows
    more. `frames` shows one picture coming about, or with `towards` the way from one unit to another, (1 − t)·a + t·b, from
    the same start each. Errors: UsageError for a layer without units, a network that reads no images, or frames of several
    pictures; UnknownName. Source: Erhan et al.
    2009; Olah, Mordvintsev, Schubert 2017; Fel et al. 2023 (basis='phase').

    >>> ActivationMaximisation(steps=64).objective
    'neuron'
    """

    objective: str = param("neuron", "the unit at one position, or its mean over the map", choices=("neuron", "channel"))
    sign: str = param("positive", "what excites the unit, what inhibits it, or both",
                      choices=("positive", "negative", "both"))
    basis: str = param("fourier", "what is changed: Fourier coefficients, pixels, or phases only",
                       choices=("fourier", "pixels", "phase"))
    size: int = param(0, "side of the picture; 0: what the unit sees, at most the network's own size", unit="px", low=0)
    steps: int = param(256, "steps of the ascent", low=1)
    rate: float = param(0.05, "learning rate of Adam", low=1e-6)
    shake: float = param(1.0, "how much the image is moved before each step; 1: Lucid's amounts", low=0, high=4)
    colours: str = param("own", "'own': of the given images, else ImageNet's for three channels",
                         choices=("own", "imagenet", "independent"))
    variants: int = param(1, "pictures for each unit, told to differ", low=1, high=32)
    diversity: float = param(1.0, "how much variants shall differ, in shares of their score", low=0)
    towards: str = param("", "another unit: the pictures on the way to it")
    frames: int = param(1, "pictures of the way, the last one included, for an animation; towards a unit: 6 or more", low=1)
    again: int = param(2, "further starts for a picture that stays below the strongest real image", low=0, high=20)
    raw: bool = param(True, "grow what the activation function is given, not what it gives")
    most: int = param(16, "units of a layer at most", low=1)
    batch: int = param(8, "pictures computed together", low=1)
    seed: int = param(0, "seed of the start and of every move", low=0)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, net: Network, target: str, given: Given = NOTHING) -> Picture:
        """Pictures of a unit, of a layer's units, or of an objective in words."""
        preprocess, assumed = inputs.preprocess_of(net)
        nets = (net, *given.more.get("against", ()))
        asked, left = asked_units(nets, target, unit=self.objective, raw=self.raw, sign=self.sign, most=self.most)
        if self.towards:
            self._one(asked)
            asked = between(nets, asked[0], self.towards, max(WAY, self.frames), unit=self.objective, raw=self.raw)
        elif self.frames > 1:
            self._one(asked)
        size, said = canvas_of(net, asked, self.size, self.objective == "neuron")
        colours = colours_of(net, given, self.colours)
        magnitude, whose = magnitude_of(net, given, size, self.seed) if self.basis == "phase" else (None, "")
        image, read = Image(self.basis, size, colours, magnitude=magnitude), Reading(preprocess, net.input_shape[1])
        every = -(-self.steps // self.frames) if self.frames > 1 and not self.towards else 0
        ascent = Ascent(nets, image, read, LUCID.times(self.shake), self.steps, self.rate, self.seed, self.batch, every)
        found = ascent([self._wanted(one) for one in asked], given.progress)
        each = [one for one in asked for _ in range(self.variants)]
        names = [one.name + (f" #{i + 1}" if self.variants > 1 else "") for one in asked for i in range(self.variants)]
        said_of, made, scores = words_of(found, names), found.images, found.scores[-1]
        if every:
            steps = [*range(every, self.steps, every), self.steps]
            each, names = each * len(steps), [f"step {step}" for step in steps]
            made = torch.cat([*found.frames[: len(steps) - 1], found.images])
            scores = found.scores[[step - 1 for step in steps], 0]
        values, tried = judged(net, each, made, read, given), ""
        if "converged" in values and not every and self.variants == 1:
            made, values, tried = self._again(net, asked, made, values, ascent, given)
        if not tried:
            values["score"] = scores.double().cpu().numpy()
        weak = [name for name, good in zip(names, values.get("converged", ()), strict=False) if not good]
        notes = [
            left, said, tried, colours.source, whose, assumed, *said_of,
            f"not converged, weaker than a real image: {', '.join(weak[:5])}{' …' if len(weak) > 5 else ''}" if weak else "",
            f"computed in batches of {self.batch}" if len(found.images) > self.batch else "",
        ]  # fmt: skip
        return Picture(tiles=tiles(made), units=tuple(names), title=f"what excites {target}", scale="rgb",
                       values=values, notes=tuple(note for note in notes if note), origin=net.origin(self, seed=self.seed))

    def _one(self, asked: Sequence[Asked]) -> None:
        """Frames and ways are of one picture."""
        if len(asked) * self.variants != 1:
            raise UsageError(f"frames of {len(asked) * self.variants} pictures", "an animation shows one",
                             "name one unit, one sign, one variant")

    def _wanted(self, one: Asked) -> Wanted:
        """The objective, and for several variants how unlike they shall be."""
        if self.variants == 1 or not one.layer:
            return Wanted(one.start or one.name, one.objective, self.variants)
        (place, *_) = one.objective.places()
        return Wanted(one.name, Apart(one.objective, Spread(place.layer), self.diversity), self.variants)

    def _again(
        self, net: Network, asked: Sequence[Asked], made: Tensor, values: dict[str, Any], ascent: Ascent, given: Given
    ) -> tuple[Tensor, dict[str, Any], str]:
        """Pictures weaker than an image, from other starts, at its place, faster and moved less; the better stays."""
        first = int((~values["converged"]).sum())
        for attempt in range(1, self.again + 1):
            weak = np.flatnonzero(~values["converged"]).tolist()
            if not weak:
                break
            filled = weak + weak[-1:] * (min(self.batch, len(asked)) - len(weak))  # one batch size, one rounding
            wanted = [Wanted(asked[i].name, elsewhere(net, asked[i], given, ascent.image.size)) for i in filled]
            less = ascent.shake.times(0.3 if attempt == 1 else 0.0)  # unmoved: strongest, least smooth
            other_start = replace(ascent, seed=self.seed + attempt, rate=self.rate * 4**attempt, shake=less)
            found = other_start(wanted, given.progress).images[: len(weak)]
            other = judged(net, [asked[i] for i in weak], found, ascent.read, given)
            for i, image, response in zip(weak, found, other["response"], strict=True):
                if asked[i].sign * (response - values["response"][i]) > 0:
                    made[i], values["response"][i] = image, response
            values |= judged(net, asked, made, ascent.read, given)
        said = f"{first} of {len(asked)} stayed below the strongest real image at first: grown again, faster and moved less"
        return made, values, said if first and self.again else ""
