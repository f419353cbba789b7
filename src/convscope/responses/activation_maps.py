"""What every unit of a layer makes of one image: its maps (Zeiler and Fergus 2014; LeCun et al. 1998).

    t[u, i, j] = a[u, i, j]
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from convscope import run
from convscope.errors import UsageError
from convscope.fields import param, validate
from convscope.network import map_of
from convscope.responses._study import Study
from convscope.results import Picture


@dataclass(frozen=True)
class ActivationMaps:
    """Where on an image does each unit of a layer answer, and how strongly?

    One tile (h, w) a unit in the order of the units, on one scale for all; signed where any value is negative. Values
    are the layer's own. `values`: 'max' and 'mean' of each map.

    Misleads where neighbouring maps are compared: the units' scales differ by what the next layer does with them. Errors:
    UsageError for a layer without maps, UnknownName for an image that is not there. Source: LeCun et al. 1998.

    >>> ActivationMaps(image=3).most
    64
    """

    image: int = param(0, "number of the image in the collection", low=0)
    most: int = param(64, "units shown at most", low=1)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, study: Study, layer: str) -> Picture:
        """The maps of the layer at this address."""
        found, net = study.net[layer], study.net
        size = map_of(found)
        if size is None or len(size) > 2:
            raise UsageError(f"{layer} has no maps", f"its output is {found.output_shape}",
                             "choose a layer before the flattening")
        pixels = study.collection[study.number(self.image)]
        x = torch.from_numpy(study.preprocess(pixels)).repeat(net.batch or 1, 1, 1, 1)  # a network may fix its batch
        x = net.check_input(x)
        maps = run.upto(net, x, layer)[:1].movedim(found.unit_axis or 1, 1)[0]
        units = len(maps)
        tiles = maps[: self.most].reshape(min(units, self.most), *([1] * (2 - len(size))), *size).cpu().numpy()
        notes = [f"the first {self.most} of {units:,} units"] if units > self.most else []
        flat = tiles.reshape(len(tiles), -1)
        return Picture(tiles=tiles, units=tuple(f"{layer}/{u}" for u in range(len(tiles))), signed=bool((tiles < 0).any()),
                       title=f"{layer} on {study.collection.ids[self.image]}",
                       values={"max": flat.max(1), "mean": flat.mean(1)}, notes=tuple(notes),
                       origin=study.origin(self))
