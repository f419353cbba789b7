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
        """The images as this network reads them, (B, C, H, W) a batch: the first `most`, in order."""
        collection = self.wanted_images("this edit")
        count = len(collection) if most is None else min(most, len(collection))
        preprocess, _ = inputs.preprocess_of(net)
        for start in range(0, count, size):
            arrays = [torch.from_numpy(preprocess(collection[i]).copy()) for i in range(start, min(start + size, count))]
            yield net.check_input(torch.stack(arrays))

    def report(self, done: int, total: int, what: str) -> None:
        if self.progress is not None:
            self.progress(done, total, what)


NOTHING = Given()
