"""The image from what a layer holds of it (Mahendran and Vedaldi 2015, "Understanding Deep Image Representations …").

    x* = argmin_x ‖Φ(x) − Φ₀‖²/‖Φ₀‖² + w·(λ_N N(x) + λ_V V(x)),   Φ₀ = Φ(image)

N: mean |c|^α, V: total variation^β (`_natural`). Found by gradient descent from noise (`_descending`).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope import inputs, likeness
from convscope.features._descending import Descent
from convscope.features._given import NOTHING, Given
from convscope.features._natural import RANGE_WEIGHT, Scale, magnitude, scale_of, variation, within
from convscope.features._representation import Representation, levels, likenesses
from convscope.fields import param, validate
from convscope.network import Network
from convscope.results import Picture
from convscope.synthesis.image import Reading
from convscope.synthesis.loop import generator
from convscope.synthesis.response import quantised, tiles

START = 0.1  # standard deviation of the noise, in units of σ


@dataclass(frozen=True)
class Inversion:
    """How much of the picture can be rebuilt from what this layer holds of it?

    Tiles (H, W, 3) uint8: the image as the network reads it, then one picture a start. `values`, one a tile, of the pictures
    as shown (8 bits): 'error' E = ‖Φ(x) − Φ₀‖²/‖Φ₀‖², 'start' E of the noise it began with, 'psnr' dB, 'ssim' (channel mean)
    and 'explained', the share of the image's variance. The target is a layer, a unit or one position. Same seed, same bits.

    Misleads: deep layers do not determine the image. The picture is one of many with nearly the same Φ, chosen by start and
    priors; what differs between starts the layer does not hold. A large E may also mean too few steps, and PSNR is low for a
    picture that is merely shifted. Errors: UsageError without an image, DataError where Φ₀ is zero, UnknownName,
    ShapeError for values that are not real numbers. Source: Mahendran and Vedaldi 2015 (arXiv:1412.0035).

    >>> net = Network.open(torch.nn.Conv2d(1, 8, 3, padding=1), (1, 8, 8))
    >>> image = np.arange(64, dtype=np.uint8).reshape(8, 8, 1) * 4
    >>> Inversion(steps=20)(net, "conv2d", Given(image)).tiles.shape
    (2, 8, 8, 3)
    """

    steps: int = param(200, "gradients taken", low=1)
    starts: int = param(1, "pictures, each from noise of its own", low=1, high=32)
    search: str = param("fourier", "how to go down; 'momentum' is the paper's",
                        choices=("fourier", "adam", "l-bfgs", "momentum"))
    rate: float = param(0.2, "learning rate, in units of σ; not for l-bfgs", low=1e-6)
    smooth: float = param(0.5, "weight λ_V of total variation; the paper: 0.5, 5 and 50 from shallow to deep", low=0)
    beta: float = param(2.0, "exponent β of total variation", low=1, high=4)
    bound: float = param(1.0, "weight of the α-norm, as a multiple of the paper's", low=0)
    alpha: float = param(6.0, "exponent α of the norm", low=1, high=12)
    fade: bool = param(True, "let the priors' weight follow the error down; off: constant, as in the paper")
    seed: int = param(0, "seed of the noise", low=0)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, net: Network, target: str, given: Given = NOTHING) -> Picture:
        """The image as it is read, and as it is rebuilt from the layer, channel or position at this address."""
        pixels = given.wanted_image("an inversion")
        preprocess, assumed = inputs.preprocess_of(net)
        read = Reading(preprocess, net.input_shape[1])
        image = within(preprocess, torch.from_numpy(np.ascontiguousarray(preprocess(pixels)))[None])
        rebuilt = Representation(net, target, read)
        wanted = rebuilt.of(image)
        scale = scale_of(preprocess, given, image, self.seed)
        found, begun, ended = [image], [0.0], [0.0]
        for number in range(self.starts):
            picture, first = self._descend(rebuilt, wanted, scale, image, given, number)
            found.append(picture)
            begun.append(first)
            with torch.no_grad():
                ended.append(float(rebuilt.error(picture, wanted)))
        shown = levels(torch.cat(found))
        values = {"error": np.array(ended), **likenesses(shown[0], shown), "start": np.array(begun)}
        return Picture(tiles=tiles(torch.cat(found)), units=("image", *(f"start {i + 1}" for i in range(self.starts))),
                       title=f"rebuilt from {target}", scale="rgb", values=values,
                       notes=tuple(n for n in self._notes(shown, wanted, scale, assumed) if n),
                       origin=net.origin(self, read(image), seed=self.seed))

    def _descend(self, rebuilt: Representation, wanted: Tensor, scale: Scale, image: Tensor, given: Given,
                 number: int) -> tuple[Tensor, float]:
        """A picture (1, C, H, W) of 8 bits within 0 … 1, and the error that it began with."""
        noise = torch.randn(image.shape, generator=generator(self.seed, f"{rebuilt.unit}#{number}"), dtype=image.dtype)
        bound = self.bound * RANGE_WEIGHT
        descent = Descent(
            error=lambda c: rebuilt.error(scale.shown(c), wanted),
            prior=lambda c: bound * magnitude(c, self.alpha) + self.smooth * variation(c, self.beta),
            low=scale.centred(torch.zeros_like(image)), high=scale.centred(torch.ones_like(image)), fade=self.fade,
            report=lambda step: given.report(number * self.steps + min(step, self.steps), self.starts * self.steps, "steps"),
        )
        c = descent(START * noise, self.search, self.steps, self.rate)
        return quantised(scale.shown(c).clamp(0, 1)), descent.errors[0]

    def _notes(self, shown: NDArray[np.uint8], wanted: Tensor, scale: Scale, assumed: str) -> list[str]:
        """What was assumed, and how far the answer is one of many."""
        count, pixels = wanted.numel(), shown[0].size
        pairs = [likeness.psnr(a, b) for a, b in itertools.combinations(shown[1:], 2)]
        side = likeness.window(shown.shape[2:])
        return [
            f"Φ holds {count:,} numbers, the image {pixels:,}" + (": it cannot determine it" if count < pixels else ""),
            f"the {self.starts} starts agree within {np.mean(pairs):.1f} dB (mean PSNR between pairs)" if pairs else
            "one start: another may end elsewhere",
            f"{self.search}, {self.steps} steps; priors: α = {self.alpha:g}, β = {self.beta:g}, λ_V = {self.smooth:g}"
            + (", fading with the error" if self.fade else ""),
            scale.source,
            f"SSIM with a window of {side} px, the image is small" if side < likeness.WINDOW else "",
            assumed,
        ]  # fmt: skip
