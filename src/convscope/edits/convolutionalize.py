"""A classifier of windows becomes a network for images of any size: its dense layers are convolutions.

    y[k] = Σ_{c,i,j} w[k, (c,i,j)] · x[c, i, j]                     the dense layer, on the map of one window
    y[k, p, q] = Σ_{c,i,j} w[k, c, i, j] · x[c, p + i, q + j]       the same numbers, at every place of a larger map

Sermanet, Eigen, Zhang, Mathieu, Fergus, LeCun 2014, "OverFeat"; Long, Shelhamer, Darrell 2015, "Fully convolutional networks
for semantic segmentation".
"""

from __future__ import annotations

from dataclasses import dataclass

from convscope.editing import Draft, Given
from convscope.editing.any_size.freeing import Walk, larger
from convscope.editing.any_size.padding import padded, told
from convscope.errors import UsageError
from convscope.fields import param, validate


@dataclass(frozen=True)
class Convolutionalize:
    """How does a classifier give a map of scores for an image of any size, without a loop over windows?

    Flatten + dense over a map (C, h, w) becomes a convolution with kernel h×w, later dense layers 1×1; batch norm and
    softmax go over the channels. Pooling of the whole map becomes pooling of a window of the training size that slides
    (`slide`), or stays (`keep`: one answer an image, not a map). The rest stays, call for call.
    (B, C, H, W) → (B, K, h', w'): K×1×1 at the training size, with the old answers (up to 1e-5); on a larger image, square
    or not, one vector of scores at each step of the network's stride (`dense`: at every pixel).
    Misleads: where the network pads, a window of a larger image sees its neighbours in place of zeros; scores differ from
    those of the window by itself. Without padding they are equal.
    Errors: UsageError where a layer means something else on a larger map: recurrence or attention over places, positions,
    weights for each place, maps of different sizes joined flat. ShapeError where sizes part on a larger image.
    Source: Sermanet et al. 2014 (OverFeat); Long et al. 2015 (fully convolutional networks).

    >>> import torch, convscope as cs
    >>> net, receipt = cs.edit("zoo:lenet5", "convolutionalize")
    >>> net.run(torch.zeros(1, 1, 60, 44)).output.shape
    torch.Size([1, 10, 9, 5])
    """

    pooling: str = param("slide", "what becomes of pooling over the whole map", choices=("slide", "keep"))

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, draft: Draft, given: Given) -> None:  # noqa: ARG002 - it needs no images
        walk = Walk(draft, self.pooling)
        walk.run()
        if not walk.changed:
            raise UsageError(f"{draft.net.name} has nothing that ties it to an image size",
                             "no dense layer, no global pooling", "use it with larger images as it is")
        larger(draft)
        if walk.wide:
            draft.note(walk.wide[0] + (f"; likewise {len(walk.wide) - 1} more layers" if len(walk.wide) > 1 else ""))
        pads = padded(draft)
        if pads:
            draft.note(f"{told(pads)}: in a larger image a window sees its neighbours there, not zeros: "
                       "its scores differ from those of the window by itself")
