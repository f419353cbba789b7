"""Which simple pattern is each filter: Gabor, edge, line, blob, centre-surround, checker or uniform, and how well does it
fit?

    R² = 1 − Σ(t − f)² / Σ(t − t̄)²        adjusted R² = 1 − (1 − R²)·(n − 1)/(n − p)        t: the filter's plane, f: the fit

n weights, p parameters. Of the patterns (see `_patterns.py`) that one is named whose BIC = n·ln(Σ(t − f)²/n) + p·ln n is
lowest (Schwarz 1978), if its adjusted R² reaches `quality`. That first layers learn Gabors and blobs: Krizhevsky,
Sutskever, Hinton 2012; Yosinski et al. 2014. Gabor: Daugman 1985.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convscope.features import _patterns
from convscope.features._given import NOTHING, Given
from convscope.features._kernels import Array, kernels, patterned, planes
from convscope.features._named import MEANINGS, Fit, columns
from convscope.fields import param, validate
from convscope.network import Network
from convscope.results import Table

UNIFORM = 0.9  # share of the squared weights that a constant holds, from which a filter is called uniform
NOISE = 200  # kernels of white noise that show how often chance fits as well
REFINED = 2  # of the patterns, the best on the grid are fitted to the end


@dataclass(frozen=True)
class Templates:
    """Which simple pattern is each filter, and how well does it fit?

    One row a unit: 'best' pattern, or 'none' where even the nearest falls short; 'r2' share of the variance about the mean
    that it explains, 'adjusted' the same less what as many free parameters explain by chance, 'raw' share of the squares
    Σt² (mean included) that pattern and offset explain; 'share' of the filter's squared weights that lie in the plane
    fitted. 'orientation' in degrees, counted from the x axis counterclockwise: of a Gabor or line the normal of its
    stripes, 0 … 180 (0: vertical stripes), of an edge the way from dark to bright, 0 … 360; 'wavelength' in px; 'phase' in
    degrees at the centre (0: bright stripe, ±90: edge); 'sigma' in px across the stripes; 'aspect' γ, sigma over that
    along the stripes; 'right', 'down': the centre from the kernel's middle in px (larger kernels; else it is the middle);
    'polarity' bright or dark; 'amplitude' half of the pattern's range, and 'offset', in weights; 'scores': R² of every
    pattern tried. NaN where a number means nothing; a column that means nothing for any filter is left out. 'uniform': a
    constant holds 90 % of the squares.

    Misleads: a plane is not the whole filter ('share'); on 3×3 there is little to tell patterns apart, and chance fits
    well (the notes say how often); at sigma's limit, twice the side, it and the offset are not determined; a px is one of
    the map that the layer reads. Errors: UnknownName for a layer without filters or channel, UsageError for kernels below
    3×3. Source: Krizhevsky, Sutskever, Hinton 2012; Daugman 1985; Schwarz 1978.

    >>> import torch
    >>> net = Network.open(torch.nn.Conv2d(3, 4, 5), (3, 16, 16))
    >>> len(Templates()(net, "conv2d"))
    4
    """

    view: str = param("auto", "plane of a filter with many input channels; auto: principal on the image, strongest deeper",
                      choices=("auto", "grey", "strongest", "principal", "norm", "channel"))
    channel: int = param(0, "input channel, for view 'channel'", low=0)
    quality: float = param(0.5, "adjusted R² below which a filter fits none", low=0.0, high=1.0)
    most: int = param(256, "filters fitted at most", low=1)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, net: Network, target: str, given: Given = NOTHING) -> Table:
        """The fits of the filters of a layer, or of one unit's."""
        found = kernels(net, target, self.most)
        patterned(found, 3)
        plane = planes(found, self.view, self.channel)
        height, width = found.weights.shape[2:]
        size = (height, width)
        flat = plane.values.reshape(len(plane.values), -1)
        fits, scores, names = fitted(flat, size, given)
        table, labels = columns(fits, _uniform(flat) >= UNIFORM, flat, self.quality)
        none = int((labels == "none").sum())
        adjusted = _adjusted(_grid_scores(np.random.default_rng(0).standard_normal((NOISE, height * width)), size)[1], size)
        chance = np.nanmax(adjusted, 1, initial=-np.inf) >= self.quality
        more: dict[str, NDArray[Any]] = {} if plane.channel is None else {"channel": plane.channel}
        notes = (*found.notes, plane.note, f"patterns tried: {', '.join(names)}, uniform",
                 f"{none} of {len(labels)} filters fit none: no pattern reaches an adjusted R² of {self.quality:g}",
                 f"by chance: {chance.mean():.0%} of {NOISE} such kernels of white noise fit one (seed 0, grid only)")
        meant = {name: words for name, words in MEANINGS.items() if name in table or name in ("share", *more)}
        cells = {"unit": found.units, "best": labels, **table, "share": plane.share, **more, "scores": scores}
        meanings = {"unit": f"address {found.layer.address}/unit", **meant, "scores": f"R² of {', '.join(names)}"}
        return Table(columns=cells, units=meanings,
                     title=f"patterns of the filters of {found.layer.address}", notes=tuple(n for n in notes if n),
                     origin=net.origin(self, seed=0))


def fitted(flat: Array, size: tuple[int, int], given: Given = NOTHING) -> tuple[list[Fit | None], Array, tuple[str, ...]]:
    """For planes (U, n): the best fit of each (None for a plane of one value), R² of every pattern (U, T), their names."""
    kinds = _patterns.patterns(size)
    starts, scores = _grid_scores(flat, size)
    spread, floor = ((flat - flat.mean(1, keepdims=True)) ** 2).sum(1), _patterns.EXACT * (flat**2).sum(1)
    count = size[0] * size[1]
    cost = np.array([kind.parameters for kind in kinds]) * np.log(count)
    fits: list[Fit | None] = []
    for u, plane in enumerate(flat):
        given.report(u, len(flat), "filters")
        if spread[u] <= floor[u]:
            fits.append(None)
            continue
        order = np.argsort(count * np.log(np.maximum((1 - scores[u]) * spread[u], floor[u])) + cost, kind="stable")
        tried: list[tuple[float, Fit]] = []
        for t in order[:REFINED]:
            point, linear, left = _patterns.refine(kinds[t], starts[t][u], plane, size)
            scores[u, t] = max(scores[u, t], 1 - left / spread[u])
            adjusted = 1 - (1 - scores[u, t]) * (count - 1) / (count - kinds[t].parameters)
            fit = Fit(kinds[t], point, linear, float(scores[u, t]), float(adjusted), size)
            tried.append((count * np.log(max(left, floor[u])) + cost[t], fit))
        fits.append(min(tried, key=lambda one: one[0])[1])
    return fits, scores, tuple(kind.name for kind in kinds)


def _grid_scores(flat: Array, size: tuple[int, int]) -> tuple[list[Array], Array]:
    """The best start of each pattern (U, P) and R² there (U, T); NaN for a plane of one value."""
    spread = ((flat - flat.mean(1, keepdims=True)) ** 2).sum(1)
    found = [_patterns.search(kind, flat, size) for kind in _patterns.patterns(size)]
    varied = spread > _patterns.EXACT * (flat**2).sum(1)
    scores = [1 - np.divide(left, spread, out=np.full(len(flat), np.nan), where=varied) for _, left in found]
    return [start for start, _ in found], np.stack(scores, 1)


def _adjusted(scores: Array, size: tuple[int, int]) -> Array:
    """(U, T) adjusted R²."""
    count = size[0] * size[1]
    return 1 - (1 - scores) * (count - 1) / (count - np.array([k.parameters for k in _patterns.patterns(size)]))


def _uniform(flat: Array) -> Array:
    """(U,) share of the squares that a constant holds."""
    total = (flat**2).sum(1)
    return np.divide(flat.mean(1) ** 2 * flat.shape[1], total, out=np.zeros(len(flat)), where=total > 0)
