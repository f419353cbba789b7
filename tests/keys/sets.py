"""Images for the tests of attacks: real digits, 0 … 1, and what an attacker may know."""

from __future__ import annotations

import functools

import numpy as np

from convscope.data import open_collection
from convscope.keys.key import Key
from convscope.keys.known import Images, Known


@functools.cache
def digits() -> Images:
    """(1797, 1, 8, 8)."""
    images = open_collection("digits")
    return np.stack([images[i] for i in range(len(images))]).transpose(0, 3, 1, 2) / 255.0


def case(kind: str, block: int, pairs: int = 0, own: int = 400, seed: int = 1) -> tuple[Images, Images, Known]:
    """200 plain images, the same keyed, and what is known besides: `own` other images, `pairs` of them keyed."""
    key, x = Key.new(kind, block, (1, 8, 8), seed), digits()
    gift = x[200 : 200 + own]
    return x[:200], key(x[:200]), Known(kind, block, gift, x[1000 : 1000 + pairs], key(x[1000 : 1000 + pairs]))
