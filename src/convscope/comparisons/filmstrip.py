"""The filters of a layer over the checkpoints of a training (Zeiler and Fergus 2014, figure 4: features through training).

    t[u, k] = w_u at checkpoint k / limit_u,   limit_u = max over k of |w_u|       one colour scale a unit, over all its time
    change[u, k] = ‖w_u(k) − w_u(0)‖₂ / ‖w_u(0)‖₂
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convscope import learned
from convscope.comparisons._images import Images, at_least_two, names, origin
from convscope.errors import ShapeError, UsageError
from convscope.fields import param, validate
from convscope.network import Network
from convscope.results import Picture

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Filmstrip:
    """What did training change in each filter of a layer?

    One row a unit, one tile (h, w) a network, in the order in which they are given; `columns` is their number. The scale of
    a unit's colours is the same in all its tiles: ±1 is its largest |w| at any checkpoint. Filters on a colour image are
    colours (mid-grey is zero); of many input channels, the strongest at the end, or the mean of |w|. `values`, one a tile:
    'change' ‖w − w₀‖/‖w₀‖ against the first network (NaN where w₀ is zero), 'norm' ‖w‖₂, 'limit', 'unit'; 'channel' where
    one was picked.

    Misleads: colours compare a unit with itself, never with its neighbours. Errors: UnknownName for a layer without filters,
    ShapeError for networks whose filters differ in shape, UsageError without a layer. Source: Zeiler and Fergus 2014.

    >>> import torch
    >>> nets = [Network.open(torch.nn.Conv2d(1, 4, 5), (1, 8, 8), f"epoch-{k}") for k in range(3)]
    >>> Filmstrip(most=2)(nets, "conv2d").tiles.shape
    (6, 5, 5)
    """

    most: int = param(12, "units shown at most", low=1)
    order: str = param("changed", "the most changed units first, or by number", choices=("changed", "number"))
    view: str = param("strongest", "of many input channels: the strongest one's weights, or the mean of absolute values",
                      choices=("strongest", "norm"))

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, networks: Sequence[Network], layer: str, images: Images | None = None) -> Picture:
        """The filters of the layer at this address in every network."""
        del images  # weights are all there is to see
        notes = list(at_least_two(networks))
        called = names(networks)
        weights, on_image = _filters(networks, called, layer)
        change = _change(weights)
        known = np.nan_to_num(change[-1], nan=np.inf)
        order = np.argsort(-known, kind="stable") if self.order == "changed" else np.arange(len(known))
        kept = order[: self.most]
        if len(kept) < len(order):
            how = "most changed at the end" if self.order == "changed" else "first"
            notes.append(f"the {len(kept)} {how} of {len(order)} units")
        weights = weights[:, kept]
        facts = {"change": change[:, kept], "norm": np.sqrt((weights**2).sum((2, 3, 4))),
                 "limit": np.broadcast_to(np.abs(weights).max((0, 2, 3, 4)), change[:, kept].shape),
                 "unit": np.broadcast_to(kept, change[:, kept].shape)}
        colours = on_image and weights.shape[2] == 3
        bgr = networks[0].preprocess is not None and networks[0].preprocess.channels == "BGR"
        tiles, signed, picked, said = self._tiles(weights[:, :, ::-1] if colours and bgr else weights, colours)
        facts |= {k: np.broadcast_to(v, change[:, kept].shape) for k, v in picked.items()}
        count = len(networks)
        return Picture(
            tiles=np.ascontiguousarray(tiles.swapaxes(0, 1).reshape(-1, *tiles.shape[2:])),
            units=tuple(f"{layer}/{u} {name}" for u in kept for name in called),
            title=f"filters of {layer}, from {called[0]} to {called[-1]}",
            scale="rgb" if colours else "shared", signed=signed, columns=count,
            values={k: np.ascontiguousarray(v.T).reshape(-1) for k, v in facts.items()},
            notes=(*notes, said, "change: ‖w − w₀‖/‖w₀‖ since the first"), origin=origin(networks, self))

    def _tiles(self, weights: Array, colours: bool) -> tuple[NDArray[np.generic], bool, dict[str, NDArray[np.int64]], str]:
        """(T, U, h, w[, 3]) tiles of (T, U, C, h, w), whether they are signed, further numbers (U,), what to say."""
        if colours:
            shares = _scaled(weights)
            tiles = np.rint(127.5 + 127.5 * shares).astype(np.uint8).transpose(0, 1, 3, 4, 2)
            return tiles, False, {}, "mid-grey is zero, white and black are ± the unit's largest weight in its row"
        said = "1 is the unit's largest |value| in its row"
        if weights.shape[2] == 1:
            return _scaled(weights)[:, :, 0], True, {}, said
        if self.view == "norm":
            return _scaled(np.abs(weights).mean(2, keepdims=True))[:, :, 0], False, {}, (
                f"mean of |w| over {weights.shape[2]} input channels; {said}")
        channel = (weights[-1] ** 2).sum((2, 3)).argmax(1)
        tiles = _scaled(weights[:, np.arange(len(channel)), channel][:, :, None])[:, :, 0]
        return tiles, True, {"channel": channel}, (
            f"of {weights.shape[2]} input channels the one with the largest weights at the end; {said}")


def _filters(networks: Sequence[Network], called: list[str], layer: str) -> tuple[Array, bool]:
    """(T, U, C, h, w) the filters of all networks, and whether they lie on the image."""
    if not layer:
        raise UsageError("a filmstrip shows one layer", "none was named", "name it: --layer conv1")
    found = [learned.filters(net, net[layer]) for net in networks]
    for name, (weights, _) in zip(called, found, strict=True):
        if weights.shape != found[0][0].shape:
            raise ShapeError(f"the filters of {layer} are not the same in all networks",
                             f"{found[0][0].shape} in {called[0]}, {weights.shape} in {name}",
                             "give checkpoints of one architecture")
    return np.stack([weights for weights, _ in found]), found[0][1]


def _change(weights: Array) -> Array:
    """(T, U) distance from the first, relative to it."""
    moved = np.sqrt(((weights - weights[:1]) ** 2).sum((2, 3, 4)))
    start = np.sqrt((weights[0] ** 2).sum((1, 2, 3)))
    return np.divide(moved, start, out=np.full(moved.shape, np.nan), where=start > 0)


def _scaled(weights: Array) -> Array:
    """Each unit's weights divided by the largest |w| at any time; zeros stay zeros."""
    limit = np.abs(weights).max((0, 2, 3, 4))[None, :, None, None, None]
    return np.divide(weights, limit, out=np.zeros_like(weights), where=limit > 0)
