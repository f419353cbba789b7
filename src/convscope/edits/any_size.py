"""One network for images of any size: what stands between the map and the dense part gives the same count of numbers.

    adaptive    x (C, h', w') → mean over h×w pieces → (C, h, w), the map of the training size → the dense part as it is
    pyramid     x (C, h', w') → max over 4×4, 2×2, 1×1 pieces → 21·C numbers → the first dense layer, made anew

He, Zhang, Ren, Sun 2014, "Spatial pyramid pooling in deep convolutional networks for visual recognition".
"""

from __future__ import annotations

from dataclasses import dataclass

from convscope.editing import Draft, Given
from convscope.editing.any_size.ending import Ending
from convscope.editing.any_size.freeing import larger
from convscope.errors import UsageError
from convscope.fields import param, validate


@dataclass(frozen=True)
class AnySize:
    """How does a network with a dense part take images of any size, and give one answer for each?

    (B, C, H, W) → (B, K) for all H, W that the layers before the dense part can take. `adaptive`: the map is averaged to its
    size at training: all weights stay, and at the training size so do the answers. `pyramid`: the maxima over n×n pieces,
    for
    each n of `levels`: Σn²·C numbers, so the first dense layer begins anew.
    Misleads: with `adaptive` an image of twice the size is seen as if smoothed at the end, not as if shrunk: objects are
    twice as large to the filters. Fine-tune on images of several sizes. With `pyramid` answers say nothing before training.
    Errors: UsageError where the network takes any size already, where no dense layer follows, or a layer cannot take another
    size. ShapeError where sizes part on a larger image.
    Source: He et al. 2014 (spatial pyramid pooling).

    >>> import torch, convscope as cs
    >>> net, receipt = cs.edit("zoo:lenet5", "any-size")
    >>> net.run(torch.zeros(1, 1, 60, 44)).output.shape
    torch.Size([1, 10])
    """

    how: str = param("adaptive", "what brings maps of all sizes to one", choices=("adaptive", "pyramid"))
    levels: str = param("4,2,1", "pyramid: pieces along a side, finest first")
    seed: int = param(0, "of the new dense layer's weights", low=0)

    def __post_init__(self) -> None:
        validate(self)
        numbers = self.levels.replace(" ", "").split(",")
        if not all(n.isdecimal() and int(n) > 0 for n in numbers) or len(set(numbers)) < len(numbers):
            raise UsageError("AnySize.levels must be different whole numbers from 1", f"got {self.levels!r}",
                             "for example 4,2,1")

    def __call__(self, draft: Draft, given: Given) -> None:  # noqa: ARG002 - it needs no images
        pyramid = self.how == "pyramid"
        walk = Ending(draft, tuple(int(n) for n in self.levels.split(",")) if pyramid else ())
        walk.run()
        if pyramid and not walk.anew:
            raise UsageError(f"a pyramid for {draft.net.name}", "no dense layer follows its maps", "use it as it is, or "
                             "`replace-head` first")
        if not walk.changed:
            pools = f"{', '.join(walk.pooled)} pools to one size already" if walk.pooled else "it has no dense part"
            raise UsageError(f"{draft.net.name} takes images of any size as it is", pools, "use it so, or how=pyramid")
        larger(draft)
        if pyramid:
            draft.note(f"the first dense layer has new random weights (torch's own start, seed {self.seed})")
