"""What an atlas says of images among images, in the space of a layer: maps of the collection, and which are most alike.

    map               the written map; other layers' are made when the live page asks: PCA at once, then t-SNE
    alike/INDEX       of an image with a page: the nearest others, layer by layer; exact, in the layer's own space
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from convscope import registry
from convscope.atlas.pages import map_page
from convscope.network import units_of
from convscope.responses._study import Study
from convscope.results import Cloud, Table

NEAREST = 9
NUMBERS = 2_000_000_000  # compared while an atlas is written: a few seconds for each thousand million
FEWEST = 10  # images that t-SNE is made of


Report = Callable[[int, int], None]


def maps(
    study: Study, layer: str, most: int, seed: int, report: Report, keep: Callable[[dict[str, Any]], None]
) -> None:  # fmt: skip
    """Hand the map of a layer to `keep`, as data 'map' holds it: with PCA, then with t-SNE too."""
    clouds: dict[str, Cloud] = {"PCA": registry.load("responses", "pca")(most=most, seed=seed)(study, layer)}
    keep(map_page(layer, clouds, study.record))
    if study.record.counted >= FEWEST:
        method = registry.load("responses", "tsne")(most=most, seed=seed)
        clouds["t-SNE"] = method(study, layer, lambda done, total, _: report(done, total))
        keep(map_page(layer, clouds, study.record))


def alike(study: Study, image: int, layer: str) -> dict[str, Any]:
    """The nearest other images of one image in one layer."""
    found: Table = registry.load("responses", "neighbours")(image=image, k=NEAREST)(study, layer)
    return {"image": found.columns["image"], "distance": found.columns["distance"], "notes": found.notes}


def kept_layers(study: Study, first: str, pages: int) -> tuple[str, ...]:
    """The layers whose nearest images are written down: as many as are quickly compared, `first` and then from the last."""
    record = study.record
    chosen: list[str] = []
    left = NUMBERS
    for layer in dict.fromkeys((first, *reversed(record.facts.embed))):
        left -= len(record.ids) * pages * (units_of(study.net[layer]) or 0)
        if chosen and left < 0:
            break
        chosen.append(layer)
    return tuple(layer for layer in record.facts.embed if layer in chosen)


def alike_page(study: Study, image: int, layers: Sequence[str]) -> dict[str, Any]:
    """All that is written down of one image."""
    return {"layers": {layer: _or_why(study, image, layer) for layer in layers}}


def _or_why(study: Study, image: int, layer: str) -> dict[str, Any]:
    """The nearest images, or why there are none: an image may leave a layer silent."""
    from convscope.errors import DataError

    try:
        return alike(study, image, layer)
    except DataError as problem:
        return {"image": [], "distance": [], "notes": [str(problem)]}
