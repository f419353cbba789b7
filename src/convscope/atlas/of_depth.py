"""The jobs of an atlas about what is left of an image: rebuilt from one layer after the other (`features/inversion.py`).

    inversion     one image of the collection, at the layers that shrink the map and the first with weights after each
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from convscope import registry
from convscope.addresses import slug
from convscope.atlas.jobs import Job, Made
from convscope.atlas.of_units import given, sheet
from convscope.atlas.work import Work
from convscope.features._given import Given
from convscope.inverting import turning_points
from convscope.results import Picture

NUMBERS = ("psnr", "ssim", "error", "explained")


def jobs(work: Work, about: Callable[[str], bool]) -> list[Job]:
    """One job a layer."""
    if len(work.net.input_shape) != 4:
        return []
    image = first_image(work)
    settings = f"{_method(work)!r} image {image}"
    return [
        Job("inversion", layer.address, 0, settings, lambda at=layer.address: _rebuilt(work, at, image))
        for layer in turning_points(work.net)
        if about(layer.address)
    ]


def first_image(work: Work) -> int:
    """The first image that could be read."""
    return int(np.flatnonzero(work.record.predictions()["seen"])[0])


def _method(work: Work) -> Any:
    return registry.load("features", "inversion")(seed=work.settings.seed)


def _rebuilt(work: Work, layer: str, image: int) -> Made:
    """The image and what is rebuilt of it, side by side; how near it comes."""
    asked = given(work)
    more = Given(image=work.collection[image], record=asked.record, images=asked.images, count=asked.count)
    found: Picture = _method(work)(work.net, layer, more)
    facts, name, content = sheet(found.tiles, f"pictures/inversion/{slug(layer)}", 2)
    values = {key: float(found.values[key][-1]) for key in NUMBERS}
    return {"image": image, "sheet": facts, "notes": found.notes, "settings": repr(_method(work)), **values}, {name: content}


def page(found: dict[str, dict[str, Any]], layers: list[str]) -> dict[str, Any] | None:
    """For data/depth.js: the layers in their order, and what was rebuilt of the image at each."""
    kept = [layer for layer in layers if layer in found]
    if not kept:
        return None
    first = found[kept[0]]
    shared = [note for note in first["notes"] if all(note in found[layer]["notes"] for layer in kept)]
    return {"layers": kept, "image": first["image"], "sheets": [found[layer]["sheet"] for layer in kept],
            "notes": shared, "settings": first["settings"],
            **{key: [found[layer][key] for layer in kept] for key in NUMBERS}}  # fmt: skip
