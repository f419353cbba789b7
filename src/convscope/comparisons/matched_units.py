"""Units of two networks paired by what they answer (Li et al. 2016, "Convergent Learning", bipartite matching).

    r[u, v] = corr(a[·, u], b[·, v])   over images and positions            π = argmax over one-to-one maps of Σ_u r[u, π(u)]

π is found exactly (Hungarian algorithm; Kuhn 1955, by SciPy). Without images, for a layer that reads the image itself,
r is the cosine of the filters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from convscope import learned, run
from convscope.comparisons._images import Images, at_least_two, names, origin
from convscope.errors import ShapeError, UsageError
from convscope.fields import param, validate
from convscope.network import Network, map_of, units_of
from convscope.results import Table
from convscope.similarity import Correlation

Array = NDArray[np.float64]


@dataclass(frozen=True)
class MatchedUnits:
    """Which unit of the other network does what this unit does, and did it keep its place?

    One row a unit of the first network, for each other network: 'unit', 'match' in the other (−1: the other has fewer), 'r'
    their correlation (−1 … 1), 'r own' that with the unit of the same number, 'in place' whether both are the same. All
    positions count where the maps have one size, else the mean over each map. Units that answer the same to everything
    have no correlation (NaN); they are paired last, in their own place where that is free.

    Misleads: every unit gets a partner, whether it has one or not; look at r. Correlation of ReLU outputs grows with
    sparsity. A unit may also be spread over several. Errors: UnknownName, UsageError (no layer, no images for a deep layer),
    ShapeError. Source: Li, Yosinski, Clune, Lipson, Hopcroft 2016.

    >>> import torch
    >>> nets = [Network.open(torch.nn.Conv2d(1, 4, 3), (1, 8, 8), name) for name in ("here", "there")]
    >>> sorted(MatchedUnits()(nets, "conv2d").columns["match"].tolist())
    [0, 1, 2, 3]
    """

    most: int = param(512, "images at most; of more, a random sample is taken", unit="images", low=2)
    seed: int = param(0, "seed of the sample", low=0)
    batch: int = param(32, "images per pass", unit="images", low=1)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, networks: Sequence[Network], layer: str, images: Images | None = None) -> Table:
        """Every network after the first against the first, in the layer at this address."""
        notes = list(at_least_two(networks))
        if not layer:
            raise UsageError("units are matched in one layer", "none was named", "name it: --layer conv2")
        called = names(networks)
        correlations, said = self._by_images(networks, layer, images) if images else _by_filters(networks, called, layer)
        notes += said
        columns: dict[str, list[NDArray[np.generic]]]
        columns = {k: [] for k in ("network", "unit", "match", "r", "r own", "in place")}
        for name, r in zip(called[1:], correlations, strict=True):
            match = assigned(r)
            units = np.arange(len(r))
            there = np.where(match >= 0, r[units, match], np.nan)
            own = np.array([r[u, u] if u < r.shape[1] else np.nan for u in units])
            row = (np.full(len(r), name), units, match, there, own, match == units)
            for column, values in zip(columns.values(), row, strict=True):
                column.append(values)
            silent = int(np.isnan(there).sum())
            mean = f", mean r {np.nanmean(there):.3f}" if silent < len(r) else ""
            notes.append(f"{name}: {int((match == units).sum())} of {len(r)} units stay in place{mean}"
                         + (f"; {silent} without a correlation" if silent else ""))
        how = "correlation of responses" if images else "cosine of the filters"
        meanings = {"unit": f"{layer} of {called[0]}", "match": "unit of the other network; −1: none is left",
                    "r": f"{how}, −1 … 1", "r own": "the same with the unit of the same number"}
        return Table(columns={k: np.concatenate(v) for k, v in columns.items()}, units=meanings, notes=tuple(notes),
                     title=f"units of {layer}: {called[0]} and {', '.join(called[1:])}",
                     origin=origin(networks, self, images, self.seed if images else None))

    def _by_images(self, networks: Sequence[Network], layer: str, images: Images) -> tuple[list[Array], list[str]]:
        """(U, V) of the first network with each other one, and what to say."""
        first, *others = (_with_units(net, layer) for net in networks)
        whole = all(map_of(net[layer]) == map_of(networks[0][layer]) for net in networks)
        sums = [Correlation(first, other) for other in others]
        order, notes = images.chosen(self.most, self.seed)
        count = 0
        for inputs in images.batches(networks, order, self.batch):
            count += len(inputs[0])
            values = [_rows(net, layer, run.upto(net, x, layer), whole) for net, x in zip(networks, inputs, strict=True)]
            for one, other in zip(sums, values[1:], strict=True):
                one.add(values[0], other)
        over = "images and positions" if whole and map_of(networks[0][layer]) else "images"
        said = f"over {count:,} images, {sums[0].count:,} {over}" if over != "images" else f"over {count:,} images"
        if not whole:
            said += ", the mean of each map (the maps differ in size)"
        return [one.values() for one in sums], [said, *notes, *images.left_out()]


def assigned(r: Array) -> NDArray[np.int64]:
    """(U,) the best one-to-one partner of each row of (U, V); −1 where there are fewer columns.

    >>> assigned(np.array([[0.1, 0.9], [0.8, 0.9]])).tolist()
    [1, 0]
    """
    worth = np.nan_to_num(r, nan=-2.0)  # below every correlation
    worth = worth + 1e-9 * np.eye(*r.shape)  # of equals, the own place
    rows, columns = linear_sum_assignment(worth, maximize=True)
    match = np.full(len(r), -1)
    match[rows] = columns
    return match


def _with_units(net: Network, layer: str) -> int:
    count = units_of(net[layer])
    if count is None:
        raise ShapeError(f"{layer} of {net.name} has no units", f"its output is {net[layer].output_shape}",
                         "choose a convolution or a dense layer")
    return count


def _rows(net: Network, layer: str, value: Tensor, whole: bool) -> Array:
    """(n, U): one row an image and position, or an image."""
    axis = net[layer].unit_axis or 1
    found = value.movedim(axis, 1).flatten(2) if value.ndim > 2 else value[:, :, None]
    found = found.to(torch.float64)
    kept = found.movedim(1, 2).flatten(0, 1) if whole else found.mean(2)
    return kept.cpu().numpy()


def _by_filters(networks: Sequence[Network], called: list[str], layer: str) -> tuple[list[Array], list[str]]:
    """(U, V) cosines of the filters, where all networks read the image with them."""
    weights: list[Array] = []
    for net, name in zip(networks, called, strict=True):
        found = learned.weight(net, net[layer])
        if found is None or not learned.on_image(net, net[layer]):
            raise UsageError(f"units of {layer} cannot be matched by their filters",
                             f"in {name} its inputs are not the image, so equal numbers need not mean equal inputs",
                             "give images: --images FOLDER, or images=…")
        flat = found.double().flatten(1).cpu().numpy()
        length = np.sqrt((flat**2).sum(1, keepdims=True))
        weights.append(np.divide(flat, length, out=np.full(flat.shape, np.nan), where=length > 0))
        if flat.shape[1] != weights[0].shape[1]:
            raise ShapeError(f"the filters of {layer} differ in shape", f"{weights[0].shape[1]} numbers in {called[0]}, "
                             f"{flat.shape[1]} in {name}", "give images: --images FOLDER, or images=…")
    return [np.clip(weights[0] @ other.T, -1, 1) for other in weights[1:]], ["no images: by the cosine of the filters"]
