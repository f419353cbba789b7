"""The strongest images of a unit beside what the deconvnet makes of them (Zeiler and Fergus 2014, figure 2).

    tile 2i      what the unit saw of its i-th strongest image, cut to the receptive field
    tile 2i + 1  its response projected back to pixels: mid-grey is 0, all projections on one scale
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from convscope import registry
from convscope.responses._study import Study
from convscope.results import Picture
from convscope.run import target


def projected(study: Study, layer: str, unit: int, k: int = 9, overlap: str = "add") -> Picture:
    """Which pattern in each of its strongest images made the unit answer?

    Tiles (2k, h, w, 3) uint8 in pairs; `values`: 'image', 'value', and 'limit', the largest |projection| of all. Errors: as
    the methods `top-images` and `deconvnet`.
    """
    top: Picture = registry.load("responses", "top-images")(unit=unit, k=k)(study, layer)
    method = registry.load("attributions", "deconvnet")(overlap=overlap)
    crops: list[Any] = []
    notes: tuple[str, ...] = ()
    columns = [top.values[name] for name in ("image", "y", "x", "y0", "x0", "y1", "x1")]
    for image, y, x, y0, x0, y1, x1 in zip(*columns, strict=True):
        found = study.net.check_input(torch.from_numpy(study.preprocess(study.collection[int(image)]))[None])
        place = f"@{y},{x}" if len(study.net[layer].output_shape) == 4 else ""
        heat = method(study.net, found, target(study.net, f"{layer}/{unit}{place}", found))
        crops.append(heat.values[0, :, y0:y1, x0:x1])
        notes = tuple(note for note in heat.notes if not note.startswith("starts at"))
    limit = max(float(np.abs(crop).max()) for crop in crops) or 1.0
    height, width = top.tiles.shape[1:3]
    projections = [_shown(crop / limit, height, width, _place(study, layer, top, i)) for i, crop in enumerate(crops)]
    tiles = np.stack([tile for pair in zip(top.tiles, projections, strict=True) for tile in pair])
    values = {name: np.repeat(top.values[name], 2) for name in ("image", "value")}
    return Picture(tiles=tiles, units=tuple(name for one in top.units for name in (one, f"{one} projected")), scale="rgb",
                   title=f"strongest images of {layer}/{unit}, and its response projected back",
                   values=values | {"limit": np.full(len(tiles), limit)},
                   notes=(*top.notes, "projections: mid-grey is 0, all on one scale", *notes),
                   origin=study.origin(f"{top.origin.method}, {method!r}"))


def _place(study: Study, layer: str, top: Picture, at: int) -> tuple[int, int]:
    """Where in its tile a crop lies: a field that reaches beyond the image begins there with grey."""
    fields = study.net[layer].fields
    height, width = top.tiles.shape[1:3]
    box = {name: int(top.values[name][at]) for name in ("y0", "x0", "y1", "x1", "y", "x")}
    if fields is None or len(fields) != 2 or (box["y1"] - box["y0"], box["x1"] - box["x0"]) == (height, width):
        return 0, 0
    found = []
    for field, first, position in zip(fields, (box["y0"], box["x0"]), (box["y"], box["x"]), strict=True):
        found.append(0 if field.size is None else max(0, first - int((field.start + position * field.stride) // 1)))
    return found[0], found[1]


def _shown(crop: Any, height: int, width: int, at: tuple[int, int]) -> Any:
    """(h, w, 3) uint8 of a crop (C, …) within −1 … 1; grey where the tile is larger."""
    colours = crop if len(crop) == 3 else np.repeat(crop.mean(0, keepdims=True) if len(crop) > 3 else crop[:1], 3, axis=0)
    tile = np.full((height, width, 3), 128, np.uint8)
    h, w = min(colours.shape[1], height - at[0]), min(colours.shape[2], width - at[1])
    painted = np.rint(127.5 + 127.5 * np.clip(colours[:, :h, :w], -1, 1)).astype(np.uint8)
    tile[at[0] : at[0] + h, at[1] : at[1] + w] = painted.transpose(1, 2, 0)
    return tile
