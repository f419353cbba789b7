"""What is lost at each layer: the same image rebuilt from one layer after the other, in numbers and as a strip of pictures.

    found = inverted_depth(net, image);  found.table;  found.strip

By default the layers that halve the map at least (pooling, strided convolutions) and the first one with weights after each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convscope import registry
from convscope.errors import DataError, ShapeError, UsageError
from convscope.features._given import Given
from convscope.images import Pixels
from convscope.network import Network, map_of
from convscope.results import Layer, Picture, Table

Progress = Callable[[int, int, str], None]
VIEWS = ("flatten", "view", "reshape")  # the same numbers in another shape
MEANINGS = {
    "layer": "where the network was cut",
    "operator": "what the layer does",
    "numbers": "how many numbers the layer holds of an image",
    "error": "relative feature error ‖Φ(x) − Φ₀‖²/‖Φ₀‖² of the rebuilt picture",
    "start": "the same of the noise it began with: what knowing nothing gives",
    "psnr": "PSNR of the rebuilt picture against the image, dB",
    "ssim": "SSIM of the rebuilt picture against the image, mean over channels",
    "explained": "share of the image's variance that the rebuilt picture explains",
}


@dataclass(frozen=True)
class Depth:
    """The numbers, one row a layer, and the pictures, the image first."""

    table: Table
    strip: Picture


def inverted_depth(net: Network, image: Pixels, layers: Sequence[str] = (), *, parameters: Mapping[str, Any] | None = None,
                   progress: Progress | None = None) -> Depth:
    """How much of an image (H, W, C) uint8 can still be rebuilt as one goes deeper?

    `layers`: addresses in the order wanted; none: `turning_points`. `parameters`: of `features/inversion.py`, whose
    warnings hold. The best of several starts counts, by feature error. A layer that holds nothing of this image (zeros) is
    left out and named. Errors: UsageError where no layer is left, and those of an inversion.
    """
    wanted = [net[address] for address in layers] if layers else turning_points(net)
    method = registry.load("features", "inversion")(**dict(parameters or {}))
    found: list[tuple[Layer, Picture, int]] = []
    left: list[str] = []
    for number, layer in enumerate(wanted):
        report = _report(progress, number, len(wanted), layer.address)
        try:
            made: Picture = method(net, layer.address, Given(image=image, progress=report))
        except (DataError, ShapeError) as error:
            left.append(f"left out: {error}")
            continue
        found.append((layer, made, 1 + int(np.argmin(made.values["error"][1:]))))
    if not found:
        raise UsageError(f"nothing of {net.name} to rebuild an image from", left[0] if left else "no layer has a map",
                         "name the layers: layers=[…]")
    seed = found[0][1].origin.seed
    origin = net.origin(method, seed=seed)
    notes = (*left, *_shared([picture for _, picture, _ in found]),
             "deep layers do not determine an image: each picture is one of many with nearly the same values")
    return Depth(_table(net, found, notes, origin), _strip(net, found, notes, origin))


def turning_points(net: Network) -> list[Layer]:
    """The first layer, each that leaves half the positions or fewer, the first with weights after each, the output."""
    size = {layer.address: map_of(layer) for layer in net.layers}
    own = tuple(net.input_shape[2:])
    chosen: list[Layer] = []
    pending = True  # the next layer with weights is wanted
    for layer in net.layers:
        here = size[layer.address]
        before = max((size.get(p) or own for p in layer.parents), default=own, key=np.prod)
        shrinks = len(layer.input_shapes[0]) > 2 and (here is None or 2 * np.prod(here) <= np.prod(before))
        if shrinks and layer.operator not in VIEWS:
            chosen.append(layer)
            pending = True
        elif pending and layer.parameters:
            chosen.append(layer)
            pending = False
    known = not net.layers or net.output in chosen or net.output.operator in VIEWS
    return chosen if known else [*chosen, net.output]


def _report(progress: Progress | None, number: int, count: int, address: str) -> Progress | None:
    """Progress over all layers."""
    if progress is None:
        return None
    return lambda done, total, what: progress(number * total + done, count * total, f"{what}, {address}")


def _shared(pictures: Sequence[Picture]) -> list[str]:
    """What was said of every picture; the first note is of the layer alone."""
    return [note for note in pictures[0].notes if all(note in picture.notes for picture in pictures)]


def _table(net: Network, found: Sequence[tuple[Layer, Picture, int]], notes: tuple[str, ...], origin: Any) -> Table:
    columns: dict[str, NDArray[Any]] = {
        "layer": np.array([layer.address for layer, _, _ in found]),
        "operator": np.array([layer.operator for layer, _, _ in found]),
        "numbers": np.array([int(np.prod(layer.output_shape[1:])) for layer, _, _ in found]),
    }
    for name in ("error", "start", "psnr", "ssim", "explained"):
        columns[name] = np.array([picture.values[name][best] for _, picture, best in found])
    return Table(columns=columns, units=MEANINGS, title=f"what is left of an image in {net.name}, layer by layer",
                 notes=notes, origin=origin)


def _strip(net: Network, found: Sequence[tuple[Layer, Picture, int]], notes: tuple[str, ...], origin: Any) -> Picture:
    first = found[0][1]
    picked = [(first, 0), *((picture, best) for _, picture, best in found)]
    names = ("psnr", "error", "ssim", "explained", "start")
    return Picture(tiles=np.stack([picture.tiles[at] for picture, at in picked]),
                   units=("image", *(layer.address for layer, _, _ in found)), title=f"an image rebuilt from {net.name}",
                   scale="rgb", values={k: np.array([picture.values[k][at] for picture, at in picked]) for k in names},
                   notes=notes, origin=origin)
