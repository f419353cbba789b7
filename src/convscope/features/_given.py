"""What a question about a feature may be given besides the network and the target. A method is called as

    method(net, target, given) -> Picture | Table        target: 'conv2', 'conv2/37', 'conv2/37@5,9', …
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from convscope.errors import UsageError
from convscope.images import Pixels

if TYPE_CHECKING:
    from convscope.record import Record

Progress = Callable[[int, int, str], None]  # done, total, of what; may raise to stop


@dataclass(frozen=True)
class Given:
    """Everything is optional; a method says in its notes what it lacked, or raises UsageError where it cannot do without."""

    image: Pixels | None = None  # (H, W, C) uint8: what a dream or an inversion starts from
    record: Record | None = None  # a sweep of this network: the strongest real responses, means
    images: Callable[[int], Pixels] | None = None  # the collection's images by number, for colour statistics
    count: int = 0  # how many images there are
    progress: Progress | None = None
    more: Mapping[str, Any] = field(default_factory=dict[str, Any])  # 'against': a second network, …

    def wanted_image(self, what: str) -> Pixels:
        """The image, or an error that says who needs one."""
        if self.image is None:
            raise UsageError(f"{what} needs an image", "none was given", "give one: --image FILE, or image=…")
        return self.image

    def extremes(self, layer: str) -> tuple[NDArray[Any], NDArray[Any]] | None:
        """Each unit's smallest and largest response (U,) to real images, where a sweep has measured this layer."""
        if self.record is None or layer not in self.record.facts.layers:
            return None
        found = self.record.tally(layer)
        return found.minimum.astype(np.float64), found.value[:, 0].astype(np.float64)

    def strongest_at(self, layer: str, unit: int) -> int | None:
        """The flat position on a unit's map where the strongest real image excites it, where a sweep has measured it."""
        if self.record is None or layer not in self.record.facts.layers:
            return None
        return int(self.record.tally(layer).position[unit, 0])

    def report(self, done: int, total: int, what: str) -> None:
        if self.progress is not None:
            self.progress(done, total, what)


NOTHING = Given()
