"""Filters of a layer that do the same, the opposite, the same a pixel further, or nothing.

    cos(a, b; d) = Σ_cij w[a, c, i, j] · w[b, c, i − d_y, j − d_x] / (‖w_a‖ ‖w_b‖)       d_y, d_x ∈ {−1, 0, 1}

b moved by d px; weights that leave the kernel count as zero, so that |cos| ≤ 1. Near +1: the two units compute nearly the
same map (of another size or offset); near −1: nearly its negative, as pairs under a ReLU often are (Shang et al. 2016).
Groups are the connected components of the pairs found.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from convscope import learned
from convscope.errors import unknown
from convscope.features._given import NOTHING, Given
from convscope.features._kernels import Array
from convscope.features._responding import Responses, responses
from convscope.fields import param, validate
from convscope.network import Network
from convscope.results import Layer, Table

FLOOR = 1e-12  # ‖w‖ below this is zero whatever the layer


@dataclass(frozen=True)
class Duplicates:
    """Which units of a layer repeat each other, and which do nothing?

    One row a finding, pairs first, the most alike on top. 'finding': 'same', 'opposite' (cos < 0), 'same, moved' and
    'opposite, moved' (alike only when one is moved by a pixel; kernels of 3×3 or more), 'dead weights' (‖w‖ below `dead`
    times the layer's median), and, where a sweep of this network is given, 'never on' and 'always on' (the value that the
    ReLU reads is not above zero at any position of any image; above zero at all). 'first', 'second': units, −1 for none;
    'cosine' in −1 … 1; 'down', 'right': the move of the second unit in px; 'group': pairs with one number hang together;
    'norm': ‖w‖ of the first unit over the layer's median.

    Misleads: alike weights make alike maps up to size and offset only, and a bias can keep one of two equal filters
    silent; unlike weights may still respond alike. Never on is said of the images swept, not of all. Errors: UnknownName
    for a layer without weights, StoreError for the sweep of another network. Source: Shang, Sohn, Almeida, Lee 2016.

    >>> import torch
    >>> net = Network.open(torch.nn.Conv2d(3, 8, 5), (3, 16, 16))
    >>> Duplicates(threshold=0.99)(net, "conv2d").title
    'duplicates and idle units of conv2d'
    """

    threshold: float = param(0.9, "|cosine| from which two filters count as duplicates", low=0.1, high=1.0)
    moved: bool = param(True, "also compare filters moved by a pixel, where kernels are 3×3 or larger")
    dead: float = param(1e-3, "‖w‖ relative to the layer's median below which a filter counts as dead", low=0.0, high=1.0)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, net: Network, target: str, given: Given = NOTHING) -> Table:
        """The findings about the units of the layer at this address."""
        layer = net[target]
        weights = self._weights(net, layer)
        norm = np.sqrt((weights**2).sum(tuple(range(1, weights.ndim))))
        median = float(np.median(norm))
        relative = norm / median if median > 0 else np.zeros_like(norm)
        idle = norm <= max(self.dead * median, FLOOR)
        unit = weights / np.where(idle, np.inf, norm).reshape(-1, *[1] * (weights.ndim - 1))
        moving = self.moved and weights.ndim == 4 and min(weights.shape[2:]) >= 3
        cosine, moves = alike(unit, moving, given)
        first, second = np.nonzero(np.triu(np.abs(cosine) >= self.threshold - FLOOR, 1))
        order = np.lexsort((second, first, -np.round(np.abs(cosine[first, second]), 9)))
        first, second = first[order], second[order]
        values, shifts = cosine[first, second], moves[first, second]
        names = [("same" if v > 0 else "opposite") + (", moved" if shift.any() else "")
                 for v, shift in zip(values, shifts, strict=True)]
        group = _groups(first, second, len(norm))
        seen = responses(net, layer, given)
        single = [("dead weights", int(u)) for u in np.flatnonzero(idle)] + _idle(seen)
        lone = np.array([u for _, u in single], np.int64)
        none = np.zeros(len(lone), np.int64)
        firsts = np.concatenate([first, lone])
        columns: dict[str, NDArray[Any]] = {
            "finding": np.array([*names, *(name for name, _ in single)], np.str_), "first": firsts,
            "second": np.concatenate([second, none - 1]), "cosine": np.concatenate([values, np.full(len(lone), np.nan)]),
            "down": np.concatenate([shifts[:, 0], none]), "right": np.concatenate([shifts[:, 1], none]),
            "group": np.concatenate([group, none - 1]), "norm": relative[firsts]}
        units = {"first": f"address {layer.address}/unit", "second": "the unit it is like; −1: none",
                 "cosine": "of the two weight vectors, −1 … 1", "down": "px that the second is moved by",
                 "right": "px that the second is moved by", "group": "pairs with one number hang together; −1: no pair",
                 "norm": "‖w‖ of the first over the layer's median"}
        return Table(columns=columns, units=units, title=f"duplicates and idle units of {layer.address}",
                     notes=self._notes(group, first, second, (len(norm), int(idle.sum()), moving), seen),
                     origin=net.origin(self))

    def _weights(self, net: Network, layer: Layer) -> Array:
        weight = learned.weight(net, layer)
        if weight is None:
            others = [one.address for one in net.layers if learned.weight(net, one) is not None]
            raise unknown("layer with weights", layer.address, others, f"{layer.operator} has no weights of its own")
        return weight.double().cpu().numpy()

    def _notes(self, group: NDArray[np.int64], first: NDArray[np.int64], second: NDArray[np.int64],
               counts: tuple[int, int, bool], seen: Responses) -> tuple[str, ...]:
        units, idle, moving = counts
        doubled = len(np.union1d(first, second))
        where = "at the same place or moved by a pixel" if moving else "at the same place only"
        return (f"pairs with |cosine| ≥ {self.threshold:g}, {where}: {len(first)}; units in them: {doubled} of {units}; "
                f"groups: {len(np.unique(group))}", f"units whose weights are (nearly) zero: {idle} of {units}", seen.note)


def alike(unit: Array, moving: bool, given: Given = NOTHING) -> tuple[Array, NDArray[np.int64]]:
    """(U, U) cosine of largest size over the moves, and (U, U, 2) the move (down, right) of the second filter.

    `unit`: filters of length one, or zero. Standing still wins ties.
    """
    count = len(unit)
    flat = unit.reshape(count, -1)
    best, moves = np.clip(flat @ flat.T, -1, 1), np.zeros((count, count, 2), np.int64)
    around = [(0, 1), (1, -1), (1, 0), (1, 1)] if moving else []  # the other four are these, first and second exchanged
    for done, (down, right) in enumerate(around):
        given.report(done, len(around), "moves")
        there = np.zeros_like(unit)
        height, width = unit.shape[2:]
        there[:, :, down:, max(right, 0) : width + min(right, 0)] = (
            unit[:, :, : height - down, max(-right, 0) : width - max(right, 0)])
        found = flat @ there.reshape(count, -1).T  # [a, b]: b moved by (down, right)
        for value, sign in ((found, 1), (found.T, -1)):
            better = np.abs(value) > np.abs(best) + FLOOR
            best = np.where(better, np.clip(value, -1, 1), best)
            moves[better] = (sign * down, sign * right)
    return best, moves


def _groups(first: NDArray[np.int64], second: NDArray[np.int64], units: int) -> NDArray[np.int64]:
    """(pairs,) a number for each connected component, counted in the order of the rows."""
    links = coo_array((np.ones(len(first)), (first, second)), shape=(units, units))
    labels = connected_components(links, directed=False)[1][first]
    _, at, place = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(at))[place].astype(np.int64)


def _idle(seen: Responses) -> list[tuple[str, int]]:
    return [("never on", int(u)) for u in np.flatnonzero(seen.never)] + [
        ("always on", int(u)) for u in np.flatnonzero(seen.always)]
