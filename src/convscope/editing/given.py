"""What an edit may be given besides the network: the user's images and labels, and where to report."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from convscope import inputs
from convscope.errors import UsageError

if TYPE_CHECKING:
    from convscope.network import Network

Progress = Callable[[int, int, str], None]  # done, total, of what; may raise to stop
MOST = 64  # images on which the drift is measured


@dataclass(frozen=True)
class Given:
    """Everything is optional; an edit that cannot do without raises UsageError and says what to give."""

    images: Any = None  # a collection (data.open_collection), or None
    labels: tuple[int, ...] = ()  # one class index an image, where the collection has labels
    progress: Progress | None = None

    def wanted_images(self, what: str) -> Any:
        """The collection, or an error that says who needs one."""
        if self.images is None:
            raise UsageError(f"{what} needs images", "none were given", "give a folder, or digits, faces: --data, or data=…")
        return self.images

    def batches(self, net: Network, most: int | None = None, size: int = 32) -> Iterator[Tensor]:
        """The images as this network reads them, (B, C, H, W) a batch: the first `most` in order, unreadable ones out."""
        for x, _ in self.pairs(net, most, size):
            yield x

    def pairs(self, net: Network, most: int | None = None, size: int = 32) -> Iterator[tuple[Tensor, Tensor]]:
        """The same with the class index of each image, (B,), −1 where it is not known."""
        collection = self.wanted_images("this edit")
        preprocess, _ = inputs.preprocess_of(net)
        for batch in collection.batches(preprocess, size, stop=most):
            yield net.check_input(batch.x), torch.as_tensor(batch.labels)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What had to be left out so far."""
        left = [] if self.images is None else self.images.skipped
        return (f"{len(left)} images could not be used, the first {left[0].id}: {left[0].reason}",) if left else ()

    def report(self, done: int, total: int, what: str) -> None:
        if self.progress is not None:
            self.progress(done, total, what)


NOTHING = Given()
