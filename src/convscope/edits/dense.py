"""A classifier of windows becomes a network that scores the window around every pixel: strides are dilations (à trous).

    score[k, y, x] = f(X[:, y : y + n, x : x + m])[k]        all windows n×m of an image, one pixel apart, in one pass

Every stride becomes 1, every kernel after it is spread by the strides so far; the dense layers are convolutions
(`convolutionalize`). Giusti, Cireşan, Masci, Gambardella, Schmidhuber 2013, "Fast image scanning with deep max-pooling
convolutional neural networks"; Li, Zhao, Wang 2014; "à trous": Holschneider et al. 1989.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from convscope.editing import Draft, Given
from convscope.editing.any_size.dilating import Dilating
from convscope.editing.any_size.freeing import Walk
from convscope.editing.any_size.padding import told
from convscope.errors import UsageError
from convscope.fields import param, validate

MEASURED = 2e9  # multiply-adds up to which the difference to windows is measured


@dataclass(frozen=True)
class Dense:
    """What would the network say of the window around every pixel, in one pass, as a network of its own?

    (B, C, H, W) → (B, K, H − n + 1, W − m + 1), n×m the training size: position (y, x) is the answer for the window whose
    upper left pixel is (y, x), exactly (up to rounding),
    where nothing is padded. Weights and their count stay; multiply-adds
    a pass grow by the strides' product in each map, and shrink against a loop by far more (docs/edits.md).
    `neighbours`: a padded network too; its windows then see their neighbours where by themselves they see zeros, so that
    scores differ; where the network is small the difference is measured and said.
    Misleads: with `neighbours` the scores are those of another network, untrained on such input. `convscope scan` is exact.
    Errors: UsageError where a layer pads (without `neighbours`), pools or normalises the whole map, enlarges it, or maps of
    different strides meet; and all that `convolutionalize` refuses.
    Source: Giusti et al. 2013; Li et al. 2014.

    >>> import torch, convscope as cs
    >>> net, receipt = cs.edit("zoo:lenet5", "dense", neighbours=True)
    >>> net.run(torch.zeros(1, 1, 40, 32)).output.shape
    torch.Size([1, 10, 13, 5])
    """

    neighbours: bool = param(False, "take a padded network too: neighbours in place of zeros")

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, draft: Draft, given: Given) -> None:  # noqa: ARG002 - it needs no images
        before = draft.net
        walk = Walk(draft, "slide")
        walk.run()
        if walk.wide:
            raise UsageError(f"a dense map of {before.name}", walk.wide[0], "use `convolutionalize`, or a window loop")
        dilating = Dilating(draft, self.neighbours)
        dilating.run()
        if not (walk.changed or dilating.strides):
            raise UsageError(f"{before.name} is dense already", "it has no stride and no dense layer", "use it as it is")
        for address in dilating.strides:
            node = f"{address}: its stride becomes the dilation of all that follows"
            draft.say(node, f"# {address}: stride=1; kernels after it are spread by its stride")
        if dilating.pads:
            draft.note(_difference(draft, dilating.pads))


def _difference(draft: Draft, pads: list[str]) -> str:
    """How far are the scores from those of windows by themselves?"""
    net, (c, n, m) = draft.net, draft.input_shape
    said = f"{told(pads)}: windows see their neighbours there, not zeros; "
    pixels = sum(layer.macs * (n * m / max(1,
                                           layer.output_shape[-1] * layer.output_shape[-2]) if len(layer.output_shape) == 4
                               else 1) for layer in net.layers)
    if 4 * pixels > MEASURED:
        return said + f"not measured by how much: an image of {2 * n}×{2 * m} takes about {4 * pixels:.0e} multiply-adds"
    image = torch.randn((1, c, 2 * n, 2 * m), generator=torch.Generator().manual_seed(0)).to(net.device, net.dtype)
    dense = draft.run(image)
    places = [(y, x) for y in range(0, n + 1, max(1, n // 3)) for x in range(0, m + 1, max(1, m // 3))]
    alone = net.run(torch.cat([image[:, :, y : y + n, x : x + m] for y, x in places])).output
    together = torch.stack([dense[0, :, y, x] for y, x in places])
    far = float((together - alone.reshape(together.shape)).abs().max())
    return said + (f"on {len(places)} windows of a random image (normal, seed 0) scores differ by up to {far:.3g}, where "
                   f"they spread by {float(alone.std()):.3g}")
