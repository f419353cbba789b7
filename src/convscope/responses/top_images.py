"""The images that a unit answered to most strongly, cut to what it saw (Zeiler and Fergus 2014; Zhou et al. 2015).

    (n, p)ₖ = the k largest of max_p a[n, u, p]     one position an image; ties go to the smaller image number
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from convscope.errors import DataError, UnknownName, UsageError
from convscope.fields import param, validate
from convscope.network import map_of
from convscope.responses._study import Study, box, cut
from convscope.results import Layer, Picture


@dataclass(frozen=True)
class TopImages:
    """Which images, and where on them, did a unit answer to most strongly?

    One tile an image, falling by response, uint8 (k, h, w, 3) as the network saw it; cut to the receptive field of the
    position with the largest response, with mid-grey where that reaches beyond the image. `values`: 'image', 'value',
    'y', 'x' (position in the map), and the box 'y0' 'x0' 'y1' 'x1' in pixels of the network's input, clipped, ends not
    included.

    Misleads twice: the strongest are not the typical ones, and the receptive field is what the unit *can* see, of which the
    middle counts most. Errors: UnknownName, UsageError, DataError. Source: Zeiler and Fergus 2014.

    >>> TopImages(unit=3, k=4)
    TopImages(unit=3, k=4, crop=True)
    """

    unit: int = param(0, "which unit (channel) of the layer", low=0)
    k: int = param(9, "how many images", low=1)
    crop: bool = param(True, "cut to the receptive field, or the whole images")

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, study: Study, layer: str) -> Picture:
        """The strongest images of one unit of the layer at this address."""
        found, facts = study.net[layer], study.record.tally(layer)
        if self.unit >= facts.units:
            raise UnknownName(f"no unit {self.unit} in {layer}", f"it has {facts.units}", f"use 0 … {facts.units - 1}")
        if self.k > facts.k:
            raise UsageError(f"{self.k} strongest images are asked for", f"the sweep kept {facts.k}",
                             f"sweep again with --top {self.k}")
        image = facts.image[self.unit, : self.k]
        image = image[image >= 0]
        if len(image) == 0:
            raise DataError(f"no image of {study.collection.name} was measured", "there is nothing to show",
                            "look at the skipped images")
        position, value = facts.position[self.unit, : len(image)], facts.value[self.unit, : len(image)]
        seen = [study.seen(int(i)) for i in image]
        boxes = [box(found, p, *pixels.shape[:2]) for p, pixels in zip(position, seen, strict=True)]
        notes: list[str] = []
        if not all(known for _, known in boxes):
            notes.append(f"what a position of {layer} sees is not known: the box is the whole image")
        if len(image) < self.k:
            notes.append(f"only {len(image)} images were measured")
        tiles = [cut(found, int(p), pixels) if self.crop else pixels for p, pixels in zip(position, seen, strict=True)]
        y, x = np.divmod(position, _width(found))
        corners = zip(("y0", "x0", "y1", "x1"), np.array([b for b, _ in boxes]).T, strict=True)
        numbers = {"image": image, "value": value, "y": y, "x": x, **dict(corners)}
        return Picture(tiles=np.stack(tiles), units=tuple(study.record.ids[i] for i in image), scale="rgb",
                       title=f"strongest images of {layer}/{self.unit}", values=numbers, notes=tuple(notes),
                       origin=study.origin(self))


def _width(layer: Layer) -> int:
    size = map_of(layer)
    return 1 if size is None else size[-1]
