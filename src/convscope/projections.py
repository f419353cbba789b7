"""The strongest images of a unit beside what the deconvnet makes of them (Zeiler and Fergus 2014, figure 2).

    tile 2i      what the unit saw of its i-th strongest image, cut to the receptive field
    tile 2i + 1  its response projected back to pixels, cut alike: mid-grey is 0, all projections on one scale
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from convscope import registry
from convscope.images import Pixels, Preprocess
from convscope.network import map_of
from convscope.responses._study import Study, cut
from convscope.results import Picture
from convscope.run import target

ELSEWHERE = ("starts at", "preprocessing not given")  # the place is in `values`; no image is drawn under a projection
ALIKE = "no max pooling lies below: in a network of ReLUs the projections then differ by strength and at the border only"
WITHIN = 0.99  # share of the projected values, zeros aside, that are drawn as they are; the others are clipped
GREY = 127.5  # what zero is drawn as; a projection goes as far to black as to white


def projected(study: Study, layer: str, unit: int, k: int = 9, overlap: str = "add") -> Picture:
    """Which pattern in each of its strongest images made the unit answer?

    Tiles (2k, h, w, 3) uint8 in pairs; `values`: as the method `top-images`, and 'limit', the |projection| that is drawn
    black or white: 99 % of what is not zero lies within it. Errors: as the methods `top-images` and `deconvnet`.
    """
    top: Picture = registry.load("responses", "top-images")(unit=unit, k=k)(study, layer)
    method = registry.load("attributions", "deconvnet")(overlap=overlap)
    found = study.net[layer]
    placed = len(found.output_shape) == 4
    heats: list[NDArray[Any]] = []
    notes: list[str] = []
    for image, y, x in zip(top.values["image"], top.values["y"], top.values["x"], strict=True):
        read = study.net.check_input(torch.from_numpy(study.preprocess(study.collection[int(image)]))[None])
        place = f"@{y},{x}" if placed else ""
        heat = method(study.net, read, target(study.net, f"{layer}/{unit}{place}", read))
        heats.append(_shown(heat.values[0], study.preprocess))
        if str(heat.proof.get("max poolings with switches", "0 of 0")).startswith("0 "):
            notes.append(ALIKE)
        notes += [_said(note, int(image)) for note in heat.notes if not note.startswith(ELSEWHERE)]
    limit = scale_of(heats)
    size = map_of(found)
    positions = top.values["y"] * (1 if size is None else size[-1]) + top.values["x"]
    projections = [cut(found, int(p), _painted(heat / limit)) for p, heat in zip(positions, heats, strict=True)]
    tiles = np.stack([tile for pair in zip(top.tiles, projections, strict=True) for tile in pair])
    order = ("value", *(name for name in top.values if name != "value"))  # the first is what a drawing writes below
    values = {name: np.repeat(top.values[name], 2) for name in order}
    channels = heats[0].shape[0]
    drawn = "" if channels == study.net.input_shape[1] else f"; {channels} of {study.net.input_shape[1]} channels are drawn"
    names = tuple(name for one in top.units for name in (one, f"{one} projected"))
    return Picture(tiles=tiles, units=names, scale="rgb", columns=6,
                   title=f"strongest images of {layer}/{unit}, and its response projected back",
                   values=values | {"limit": np.full(len(tiles), limit)},
                   notes=(*top.notes, f"projections: mid-grey is 0, black and white are ∓{limit:.3g} or beyond{drawn}",
                          *dict.fromkeys(notes)),
                   origin=dataclasses.replace(top.origin, method=f"{top.origin.method}, {method!r}"))


def scale_of(heats: list[NDArray[Any]]) -> float:
    """What is drawn black or white. A few pixels are far above the rest: scaled to the largest, one would see only them."""
    sizes = np.abs(np.concatenate([heat.ravel() for heat in heats]))
    sizes = sizes[sizes > 0]
    return float(np.quantile(sizes, WITHIN, method="higher")) if len(sizes) else 1.0


def _said(note: str, image: int) -> str:
    """A note about the first image of a batch of one, with the image's number in the collection."""
    return note.replace("the activation of image 0 is", f"the activation of image {image} is")


def _shown(heat: NDArray[Any], preprocess: Preprocess) -> NDArray[Any]:
    """(3 or 1, H, W) of (C, H, W): the channels that `Preprocess.inverse` shows of the image, in its order."""
    if len(heat) < 3:
        return heat[:1]
    return heat[2::-1] if preprocess.channels == "BGR" else heat[:3]


def _painted(heat: NDArray[Any]) -> Pixels:
    """(H, W, 3) uint8 of (3 or 1, H, W) within −1 … 1."""
    levels = np.rint(GREY + GREY * np.clip(heat, -1, 1)).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(levels, (3, *levels.shape[1:])).transpose(1, 2, 0))
