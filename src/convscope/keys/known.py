"""What an attacker has, what an attack gives back, and how good that is.

The attacker knows everything but the secret (Kerckhoffs 1883): the kind of the key, its block, the images' size. An attack
is a function of keyed images and a `Known`; it returns a `Rebuilt`. Images are (N, C, H, W) float64, black 0 and white 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from convscope import likeness

Images = NDArray[np.float64]
EXACT = 100.0  # dB: a hundred-thousandth of the range
Progress = Callable[[int, int, str], None]


def none() -> Images:
    """No images at all."""
    return np.zeros((0, 1, 1, 1))


@dataclass(frozen=True)
class Known:
    """All that an attacker may use besides the keyed images; the secret is not in it."""

    kind: str
    block: int
    own: Images = field(default_factory=none, repr=False)  # plain images of the same sort, the attacker's own, never keyed
    plain: Images = field(default_factory=none, repr=False)  # plain images whose keyed version is known, too: `keyed`
    keyed: Images = field(default_factory=none, repr=False)
    seed: int = 0


@dataclass(frozen=True)
class Rebuilt:
    """What the attack makes of the keyed images, and what it has to say."""

    images: Images
    notes: tuple[str, ...] = ()


def quality(plain: Images, rebuilt: Images) -> dict[str, NDArray[np.float64]]:
    """PSNR (dB, white = 1; at most `EXACT`, which is equal but for rounding) and SSIM of each rebuilt image.

    Values outside 0 … 1 are cut first.

    >>> x = np.zeros((1, 1, 8, 8))
    >>> quality(x, x + 0.1)["psnr"].round(6).tolist()
    [20.0]
    """
    pairs = list(zip(plain, np.clip(rebuilt, 0, 1), strict=True))
    return {"psnr": np.array([min(EXACT, likeness.psnr(a, b, 1.0)) for a, b in pairs]),
            "ssim": np.array([likeness.similarity(a, b, 1.0) for a, b in pairs])}
