"""How the colours of images go together, so that an optimisation may work in colours that are independent.

    s = r · (q / max_j ‖q_j‖)ᵀ        q qᵀ = covariance of the pixels' channels, q_j its columns; r: decorrelated colours

Source: Olah, Mordvintsev, Schubert 2017 (appendix; the ImageNet figures are those of their library Lucid).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convscope.errors import DataError, UsageError
from convscope.images import Pixels

SAMPLED = 200  # images looked at


@dataclass(frozen=True)
class Colours:
    """Which colours occur together? `root` (C, C): decorrelated to true colours; `mean` (C,) in 0 … 1; `source` in words."""

    root: tuple[tuple[float, ...], ...]
    mean: tuple[float, ...]
    source: str

    @property
    def matrix(self) -> NDArray[np.float32]:
        """(C, C) the root, scaled so that its longest column is 1."""
        root = np.array(self.root, np.float32)
        return root / np.sqrt((root**2).sum(0)).max()


IMAGENET = Colours(
    ((0.26, 0.09, 0.02), (0.27, 0.00, -0.05), (0.27, -0.09, 0.03)), (0.48, 0.46, 0.41), "colours of ImageNet"
)


def independent(channels: int) -> Colours:
    """Every channel by itself."""
    return Colours(tuple(map(tuple, np.eye(channels).tolist())), (0.5,) * channels, "channels independent")


def measured(images: Callable[[int], Pixels], count: int, seed: int = 0) -> Colours:
    """The colours of a collection, from at most 200 images drawn with `seed`. Images that cannot be read are left out."""
    numbers = np.random.default_rng(seed).permutation(count)
    total, outer, pixels, seen = 0.0, 0.0, 0, 0
    for number in numbers:
        if seen == SAMPLED:
            break
        try:
            flat = images(int(number)).astype(np.float64) / 255
        except DataError:
            continue  # the collection lists what it skipped
        flat = flat.reshape(-1, flat.shape[-1])
        total, outer, pixels, seen = total + flat.sum(0), outer + flat.T @ flat, pixels + len(flat), seen + 1
    if seen == 0:
        raise DataError("colours of a collection", f"none of its {count} images can be read", "look at the skipped images")
    mean = np.atleast_1d(total / pixels)
    values, vectors = np.linalg.eigh(np.atleast_2d(outer / pixels) - np.outer(mean, mean))
    root = (vectors * np.sqrt(np.maximum(values, 1e-8)))[:, ::-1]  # the strongest direction first
    drawn = f"colours of {seen:,} images" + (f", drawn with seed {seed}" if seen < count else "")
    return Colours(tuple(map(tuple, root.tolist())), tuple(mean.tolist()), drawn)


def named(name: str, channels: int) -> Colours:
    """'imagenet' or 'independent', for a number of channels."""
    if name == "independent":
        return independent(channels)
    if name != "imagenet":
        raise UsageError(f"colours {name!r}", "there are 'imagenet', 'independent' and a collection's own", "choose one")
    if channels != 3:
        raise UsageError("colours of ImageNet", f"the network reads {channels} channels, not 3", "use 'independent'")
    return IMAGENET
