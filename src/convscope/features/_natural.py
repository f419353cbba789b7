"""What tells a natural image from noise: two priors on an image (Mahendran and Vedaldi 2015, equations 3 and 4).

    c = (s − mean) / σ                                  s: image within 0 … 1, σ: root mean square of s − mean of real images
    N(c) = mean |c|^α                                   keeps values in their range
    V(c) = mean ((c[y, x+1] − c[y, x])² + (c[y+1, x] − c[y, x])²)^(β/2)      prefers piecewise smooth pictures

Means over all C·H·W entries, so that weights do not depend on the size. The paper's c has Euclidean norm 1 and sums:
2.16·10⁸·Σ|c|⁶ there is 2.16·10⁸/D²·N here, D = 3·224² its number of entries; at β = 2 its variation is V, whatever D.
Beyond the last row and column a difference is 0; all others count, those along the last row and column too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from convscope.errors import DataError
from convscope.features._given import Given
from convscope.images import Preprocess
from convscope.synthesis.image import Reading

SAMPLED = 100  # images whose mean square is taken
RANGE_WEIGHT = 2.16e8 / (3 * 224**2) ** 2  # of N at α = 6: the paper's, for any size
TINY = 1e-12  # keeps the derivative of √0 finite where β < 2


@dataclass(frozen=True)
class Scale:
    """Where pixel values lie: `mean` (1, C, 1, 1) and `spread` σ, of images within 0 … 1; `source` says of which."""

    mean: Tensor
    spread: float
    source: str

    def centred(self, images: Tensor) -> Tensor:
        return (images - self.mean.to(images)) / self.spread

    def shown(self, centred: Tensor) -> Tensor:
        return centred * self.spread + self.mean.to(centred)


def magnitude(c: Tensor, alpha: float) -> Tensor:
    """N(c): the mean of |c|^α."""
    return c.abs().pow(alpha).mean()


def variation(c: Tensor, beta: float) -> Tensor:
    """V(c) of images c (B, C, H, W): total variation to the power β, all differences included."""
    squares = torch.zeros_like(c)
    squares[..., :, :-1] = (c[..., :, 1:] - c[..., :, :-1]).square()
    down = torch.zeros_like(c)
    down[..., :-1, :] = (c[..., 1:, :] - c[..., :-1, :]).square()
    squares = squares + down
    return squares.mean() if beta == 2 else (squares + TINY).pow(beta / 2).mean()


def within(preprocess: Preprocess, x: Tensor) -> Tensor:
    """What a network reads, (B, C, H, W), as images within 0 … 1 of 8 bits; the inverse of `Reading`."""
    read = Reading(preprocess, x.shape[1])
    s = (x - read.shift.to(x)) / read.scale.to(x)
    return ((s.flip(1) if read.flip else s).clamp(0, 1) * 255).round() / 255


def scale_of(preprocess: Preprocess, given: Given, image: Tensor, seed: int) -> Scale:
    """The mean that the preprocessing subtracts (mid-grey if none); σ of the given images, else of this one.

    At most 100 of the images, drawn with `seed`.
    """
    subtracted = np.broadcast_to(np.asarray(preprocess.mean) / preprocess.range, (image.shape[1],))
    subtracted = subtracted[::-1] if preprocess.channels == "BGR" else subtracted
    mean = torch.tensor(np.where(subtracted == 0, 0.5, subtracted).copy(), dtype=image.dtype).reshape(1, -1, 1, 1)
    if given.images is None or not given.count:
        spread, source = float((image - mean).square().mean().sqrt()), "σ: of this image, for no others were given"
    else:
        numbers = np.random.default_rng(seed).permutation(given.count)[:SAMPLED]
        squares: list[float] = []
        for number in numbers:
            try:
                x = torch.from_numpy(np.ascontiguousarray(preprocess(given.images(int(number)))))
            except DataError:
                continue  # the collection lists what it skipped
            squares.append(float((within(preprocess, x[None]) - mean).square().mean()))
        if not squares:
            raise DataError("how bright images are", f"none of {given.count} can be read", "look at the skipped images")
        spread = float(np.sqrt(np.mean(squares)))
        source = f"σ: of {len(squares):,} images" + (f", drawn with seed {seed}" if len(squares) < given.count else "")
    return Scale(mean, max(spread, 1e-3), source)
