"""The power spectrum of each filter, by the discrete Fourier transform of the kernel in a field of zeros.

    P[u, f] = Σ_c |Σ_ij w[u, c, i, j] · exp(−2πi (f_y·i + f_x·j))|²        f_x, f_y in cycles/px, −0.5 … 0.5

It is the squared gain of the filter for a grating of that frequency, added over the input channels. Zeros around a kernel
add no information: they only sample its continuous spectrum more densely (Bracewell 1965). By Parseval the mean of P over
all frequencies is ‖w_u‖². Strong, high frequencies in early filters are what Zeiler and Fergus (2014) mended in AlexNet,
by smaller windows and strides; a filter that alternates from pixel to pixel stands in the corners.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convscope.features._given import NOTHING, Given
from convscope.features._kernels import Array, kernels, patterned
from convscope.fields import param, validate
from convscope.network import Network
from convscope.results import Picture

HALF = 0.25  # cycles/px: half of the Nyquist frequency
ROWS = 64  # filters transformed at a time


@dataclass(frozen=True)
class Spectrum:
    """Which spatial frequencies does each filter answer to?

    One tile (n, n) a unit: power in (output per input unit)², frequency zero in the middle, the Nyquist frequency 0.5
    cycles/px at the edges, f_x to the right and f_y downwards. A pixel is one of the map that the layer reads. `values`,
    all weighted by power: 'centroid' mean |f| in cycles/px, 0 … 0.71; 'orientation' of the frequencies in degrees, 0 …
    180, counted from the x axis counterclockwise (0: vertical stripes), and 'coherence' 0 … 1, how much they share one;
    'high' share of the power at |f| > 0.25, half Nyquist; 'corners' share where |f_x| and |f_y| are both above it, as in a
    chequerboard. White noise has on average a 'centroid' of 0.38, 'high' 0.80 and 'corners' 0.25: no more than that is no
    sign of aliasing.

    Misleads: a small kernel has a broad spectrum whatever it looks for; channels are added without regard to what they
    carry. Errors: UnknownName for a layer without filters, UsageError for kernels of 1×1. Source: Zeiler, Fergus 2014;
    Bracewell 1965.

    >>> import torch
    >>> net = Network.open(torch.nn.Conv2d(3, 8, 5), (3, 16, 16))
    >>> Spectrum()(net, "conv2d").tiles.shape
    (8, 33, 33)
    """

    points: int = param(33, "frequencies along each axis at least; made odd: zero stands in the middle", low=5, high=255)
    scale: str = param("each", "one scale for each filter, or one for all", choices=("each", "shared"))
    most: int = param(256, "filters shown at most", low=1)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, net: Network, target: str, given: Given = NOTHING) -> Picture:
        """The spectra of the filters of a layer, or of one unit's."""
        found = kernels(net, target, self.most)
        patterned(found, 1)
        size = max(self.points, *found.weights.shape[2:])
        size += 1 - size % 2
        tiles = np.empty((len(found.weights), size, size))
        for at in range(0, len(tiles), ROWS):
            given.report(at, len(tiles), "filters")
            transformed = np.fft.fft2(found.weights[at : at + ROWS], (size, size))
            tiles[at : at + ROWS] = np.fft.fftshift((np.abs(transformed) ** 2).sum(1), (1, 2))
        values = measures(tiles)
        count = found.weights.shape[1]
        height, width = found.weights.shape[2:]
        aliased = int((values["corners"] > 0.5).sum())
        notes = (*found.notes, f"kernels of {height}×{width} in a field of {size}×{size} zeros"
                 + (f", power added over {count} input channels" if count > 1 else ""),
                 "frequency zero in the middle, 0.5 cycles/px (Nyquist) at the edges",
                 f"{aliased} of {len(tiles)} filters have over half of their power in the corners (white noise: a quarter)")
        units = tuple(f"{found.layer.address}/{u}" for u in found.units)
        return Picture(tiles=tiles, units=units, title=f"power spectra of {found.layer.address}", scale=self.scale,
                       values=values, notes=notes, origin=net.origin(self))


def measures(power: Array) -> dict[str, NDArray[Any]]:
    """The numbers of each spectrum (U, n, n), n odd and zero in the middle; NaN where there is no power."""
    f = (np.arange(power.shape[1]) - power.shape[1] // 2) / power.shape[1]
    y, x = np.meshgrid(f, f, indexing="ij")
    radius = np.hypot(x, y)
    total = power.sum((1, 2))

    def mean(weights: Array | NDArray[np.bool_]) -> Array:
        return np.divide((power * weights).sum((1, 2)), total, out=np.full(len(power), np.nan), where=total > 0)

    # The double angle makes (f_x, f_y) and (−f_x, −f_y), which are one grating, one direction; y grows downwards.
    across, along, size = mean(x**2 - y**2), mean(-2 * x * y), mean(radius**2)
    coherence = np.divide(np.hypot(across, along), size, out=np.full(len(power), np.nan), where=size > 0)
    return {"centroid": mean(radius), "high": mean(radius > HALF),
            "corners": mean((np.abs(x) > HALF) & (np.abs(y) > HALF)),
            "orientation": np.degrees(np.arctan2(along, across) / 2) % 180, "coherence": coherence}
