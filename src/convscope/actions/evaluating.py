"""Which heat-maps can be trusted?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from convscope.actions.networks import Progress, open
from convscope.results import Table


def evaluate(
    network: Any,
    images: Any,
    methods: Sequence[str] | None = None,
    measures: Sequence[str] | None = None,
    progress: Progress | None = None,
    seed: int = 0,
    *,
    target: str | int | None = None,
) -> Table:
    """Which maps can be trusted? Every method judged by every measure, beside a random map and an edge map.

    `images`: 'planted' (made ones, whose evidence is known), another collection or a folder (a sample of 16), one image or
    several. `methods`, `measures`: names; all by default. `target`: as in `attribute`; by default each image's best class.

    >>> evaluate("zoo:digits", "digits/0042", ["gradient"], ["pixel-flipping"]).columns["method"].tolist()
    ['gradient', 'random map', 'edge map']
    """
    from convscope import judging

    return judging.evaluate(open(network), images, methods, measures, progress, seed, target)
