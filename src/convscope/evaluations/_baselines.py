"""Two maps that know nothing of the network. A method that does not beat them has not been shown to explain anything.

    random map    even noise, one number a pixel, drawn from the seed and the image
    edge map      √(Sₓ² + Sᵧ²) of the grey image (mean over channels), S: Sobel's 3×3 filters, the border repeated
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import sobel
from torch import Tensor

from convscope.network import Network
from convscope.results import Heatmap
from convscope.run import Target


@dataclass(frozen=True)
class RandomMap:
    """What does chance get?"""

    seed: int = 0

    def __call__(self, net: Network, x: Tensor, target: Target) -> Heatmap:
        prints = [zlib.crc32(one.cpu().contiguous().numpy().tobytes()) for one in x]
        values = [np.random.default_rng([self.seed, p, 1]).random((1, *x.shape[2:])) for p in prints]
        return _heatmap(self, net, x, target, np.stack(values))


@dataclass(frozen=True)
class EdgeMap:
    """What do the image's own edges get?"""

    def __call__(self, net: Network, x: Tensor, target: Target) -> Heatmap:
        grey = x.double().mean(1).cpu().numpy()
        # Image by image: the filter smooths along every other axis, and would along the batch.
        edges = [np.hypot(*(sobel(one, axis, mode="nearest") for axis in (0, 1))) for one in grey]
        return _heatmap(self, net, x, target, np.stack(edges)[:, None])


BASELINES = ("random map", "edge map")


def baseline(name: str, seed: int) -> RandomMap | EdgeMap:
    return RandomMap(seed) if name == "random map" else EdgeMap()


def _heatmap(method: object, net: Network, x: Tensor, target: Target, values: NDArray[np.float64]) -> Heatmap:
    return Heatmap(values=values, images=np.zeros((len(x), *x.shape[2:], 3), np.uint8), targets=(target.label,) * len(x),
                   scores=np.zeros(len(x)), unit="no unit: it knows nothing of the network", origin=net.origin(method, x))
