"""The jobs of an atlas about single units, eight units each, the most telling ones first (`chains.ranking`).

    names         what the unit responds to, by generated concepts          the whole layer at once
    connections   which units feed it
    pictures      the image that excites it most, and what inhibits it
    projections   its strongest images, projected back by the deconvnet
    effects       what the network loses without it, class by class
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convscope import registry
from convscope.addresses import slug
from convscope.atlas.chains import principals, ranking, unit_count
from convscope.atlas.jobs import Job, Made
from convscope.atlas.work import Work
from convscope.draw import raster
from convscope.features._given import Given
from convscope.projections import WITHIN, projected
from convscope.responses._study import Study
from convscope.results import Picture, Table

GROUP = 8  # units a job
LARGEST = 112  # px: a tile with a longer side is averaged down for the page
LOSSLESS = 40  # px: tiles with a longer side are photographs enough for JPEG
STRONGEST = 9
SHOWN_CLASSES = 5


def jobs(work: Work, study: Study, chosen: str, about: Callable[[str], bool]) -> list[Job]:
    """All jobs that `chosen` (none, top, all) asks for, kind by kind; `part` says which group of units each is about.

    `about`: is a layer asked about? Layers of one chain share their units: one of them is enough.
    """
    if chosen == "none" or len(work.net.input_shape) != 4:
        return []
    chains = principals(work.net, work.record.facts.layers)
    layers = list(dict.fromkeys(at for layer, at in chains.items() if about(layer)))
    orders = {layer: ranking(work.record, layer)[0] for layer in layers}
    most = work.settings.units if chosen == "top" else max((unit_count(work.net, layer) for layer in layers), default=0)
    parts = lambda layer: -(-min(most, unit_count(work.net, layer)) // GROUP)  # noqa: E731
    names = _Names(work, study, layers)
    made = [Job("names", layer, 0, repr(_dissection(work)), lambda at=layer: names.of(at)) for layer in layers]
    kinds: dict[str, tuple[str, Callable[[Work, Study, str, list[int]], Made]]] = {
        "connections": (repr(_connections()), _wired),
        "pictures": (repr(_maximisation(work)), _painted),
        "projections": (f"top-images k={_strongest(work)}, {_deconvnet()!r}, {WITHIN}", _projected),
        "effects": (repr(_ablation(work, 0)), _silenced),
    }
    for kind, (settings, make) in kinds.items():
        for part in range(max(map(parts, layers), default=0)):
            for layer in layers:
                units = orders[layer][part * GROUP : (part + 1) * GROUP]
                if units and part < parts(layer):
                    made.append(Job(kind, layer, part, f"{settings} {units}",
                                    lambda m=make, at=layer, u=units: m(work, study, at, u)))
    return made


# ---- the methods, with the atlas's settings -------------------------------------------------------------------------


def _dissection(work: Work) -> Any:
    return registry.load("responses", "dissection")(seed=work.settings.seed)


def _connections() -> Any:
    return registry.load("features", "connections")(most=6)


def _maximisation(work: Work) -> Any:
    return registry.load("features", "activation-maximisation")(
        sign="both", steps=work.settings.steps, seed=work.settings.seed, most=GROUP
    )


def _deconvnet() -> Any:
    return registry.load("attributions", "deconvnet")()


def _ablation(work: Work, unit: int) -> Any:
    return registry.load("responses", "ablation")(unit=unit, most=work.settings.ablated, seed=work.settings.seed)


def _strongest(work: Work) -> int:
    return min(STRONGEST, work.settings.top)


def given(work: Work) -> Given:
    """What the methods of features/ may look at."""
    return Given(record=work.record, images=work.collection.__getitem__, count=len(work.collection))


# ---- what each job makes --------------------------------------------------------------------------------------------


class _Names:
    """Names of the units of many layers: those that see equally much share one pass over the concept images."""

    def __init__(self, work: Work, study: Study, layers: list[str]) -> None:
        self.work, self.study, self.layers = work, study, layers
        self.tables: dict[str, Table] = {}

    def of(self, layer: str) -> Made:
        """What one layer's units respond to. The first of a group asks for all of it."""
        from convscope.responses.dissection import reach, sentence

        if layer not in self.tables:
            net, side = self.study.net, min(self.study.net.input_shape[2:])
            group = [one for one in self.layers if reach(net[one], side) == reach(net[layer], side)]
            self.tables |= _dissection(self.work).tables(self.study, group)
        table = self.tables.pop(layer)
        columns = table.columns
        rows = {str(u): {"text": sentence(table, u), "name": columns["name"][u], "auc": columns["AUC"][u],
                         "n": columns["n"][u], "iou": columns["IoU"][u], "second": columns["second"][u]}
                for u in range(len(table))}  # fmt: skip
        return {"units": rows, "notes": table.notes, "settings": repr(_dissection(self.work))}, {}


def _wired(work: Work, study: Study, layer: str, units: list[int]) -> Made:
    del study
    rows: dict[str, Any] = {}
    notes: dict[str, tuple[str, ...]] = {}
    for unit in units:
        picture: Picture = _connections()(work.net, f"{layer}/{unit}", given(work))
        small = _levels(picture.tiles) if max(picture.tiles.shape[1:3]) <= 11 else None
        rows[str(unit)] = {"from": picture.units, "slices": small} | {k: picture.values[k] for k in ("sum", "norm")}
        notes[str(unit)] = picture.notes
    return {"units": rows, "notes": _shared(rows, notes), "settings": repr(_connections())}, {}


def _shared(rows: dict[str, dict[str, Any]], notes: dict[str, tuple[str, ...]]) -> list[str]:
    """What is noted of every unit; what is noted of one alone goes into its row."""
    common = [note for note in next(iter(notes.values())) if all(note in other for other in notes.values())]
    for unit, row in rows.items():
        own = [note for note in notes[unit] if note not in common]
        if own:
            row["notes"] = own
    return common


def _levels(tiles: NDArray[Any]) -> NDArray[np.int64]:
    """Kernel slices (n, h, w) as whole numbers −99 … 99, each on its own scale: enough for colours, and short to write."""
    largest = np.abs(tiles).max((1, 2), keepdims=True)
    return np.rint(99 * np.divide(tiles, largest, out=np.zeros(tiles.shape), where=largest > 0)).astype(np.int64)


def _painted(work: Work, study: Study, layer: str, units: list[int]) -> Made:
    """Two pictures a unit, what excites and what inhibits it, all on one sheet."""
    del study
    method = _maximisation(work)
    found: Picture = method(work.net, ", ".join(f"{layer}/{unit}" for unit in units), given(work))
    columns = {name: np.asarray(column).reshape(-1, 2) for name, column in found.values.items()}
    rows = {str(unit): {"tile": 2 * at, **{name: column[at] for name, column in columns.items()}}
            for at, unit in enumerate(units)}  # fmt: skip
    facts, name, content = sheet(found.tiles, f"pictures/units/{slug(layer)}-{units[0]}", 8)
    return {"units": rows, "sheet": facts, "size": found.tiles.shape[1:3], "notes": found.notes,
            "settings": repr(method)}, {name: content}  # fmt: skip


def _projected(work: Work, study: Study, layer: str, units: list[int]) -> Made:
    rows: dict[str, Any] = {}
    files: dict[str, bytes] = {}
    notes: dict[str, tuple[str, ...]] = {}
    for unit in units:
        found = projected(study, layer, unit, _strongest(work))
        facts, name, content = sheet(found.tiles, f"pictures/projections/{slug(layer)}-{unit}", 6)
        rows[str(unit)] = {"sheet": facts, "image": found.values["image"][::2], "value": found.values["value"][::2],
                           "limit": found.values["limit"][0]}  # fmt: skip
        files[name] = content
        notes[str(unit)] = found.notes
    settings = f"TopImages, {_strongest(work)} images a unit; {_deconvnet()!r}"
    return {"units": rows, "notes": _shared(rows, notes), "settings": settings}, files


def _silenced(work: Work, study: Study, layer: str, units: list[int]) -> Made:
    rows: dict[str, Any] = {}
    notes: dict[str, tuple[str, ...]] = {}
    for unit in units:
        table: Table = _ablation(work, unit)(study, layer)
        rows[str(unit)] = _effect(table)
        notes[str(unit)] = table.notes
    settings = repr(_ablation(work, 0)).replace("unit=0", "unit=…")
    return {"units": rows, "notes": _shared(rows, notes), "settings": settings}, {}


def _effect(table: Table) -> dict[str, Any]:
    """The classes that fall and rise most without a unit, the mean |change|, and what the accuracy does."""
    names, change, images = (table.columns[name] for name in ("class", "change", "images"))
    order = np.argsort(change, kind="stable")
    falls = [k for k in order[:SHOWN_CLASSES] if change[k] < 0]
    rises = [k for k in order[::-1][:SHOWN_CLASSES] if change[k] > 0]
    gained = ((table.columns["without"] - table.columns["accuracy"]) * images)[images > 0]
    return {
        "falls": [[str(names[k]), float(change[k])] for k in falls],
        "rises": [[str(names[k]), float(change[k])] for k in rises],
        "mean": float(np.abs(change).mean()),
        "accuracy": float(gained.sum() / images.sum()) if images.sum() else None,
    }


# ---- sheets ---------------------------------------------------------------------------------------------------------


def sheet(tiles: NDArray[np.uint8], stem: str, columns: int) -> tuple[dict[str, Any], str, bytes]:
    """Tiles on one sheet: where they are, the file's name, the file. Large ones are reduced and packed with loss."""
    small = np.stack([_reduced(tile) for tile in tiles])
    lossy = max(small.shape[1:3]) > LOSSLESS
    name = f"{stem}.{'jpg' if lossy else 'png'}"
    facts = {"file": name, "tile": list(small.shape[1:3]), "gap": 1, "columns": min(columns, len(small))}
    content = raster.sheet(small, columns, gap=1)
    return facts, name, raster.jpeg(content) if lossy else raster.png(content)


def _reduced(tile: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(h, w, 3) no longer than LARGEST; larger ones are averaged down."""
    from PIL import Image

    longest = max(tile.shape[:2])
    if longest <= LARGEST:
        return tile
    height, width = (max(1, round(n * LARGEST / longest)) for n in tile.shape[:2])
    return np.asarray(Image.fromarray(tile).resize((width, height), Image.Resampling.BOX))
