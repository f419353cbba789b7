"""The jobs of an atlas about whole layers: tables and pictures of its filters and responses, and curves through the depth.

    study/LAYER    every method below that applies, as results: a refused one is left out
    depth          probes, sparsity, redundancy, invariance and CKA of all layers side by side
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from convscope import registry
from convscope.addresses import slug
from convscope.atlas.chains import principals
from convscope.atlas.jobs import Job, Made
from convscope.atlas.of_units import given
from convscope.atlas.pictures import sheet_of
from convscope.atlas.work import Work
from convscope.responses._study import Study
from convscope.results import Picture, Result, Table

COSTLY = "activation-atlas"  # of a few layers only: it takes minutes
ROWS = 200  # of a table, at most, on the page; all of it is in jobs/
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "templates": ("features", {}),
    "duplicates": ("features", {}),
    "spectrum": ("features", {}),
    "correlation": ("responses", {}),
    "sparsity": ("responses", {}),
    "probe": ("responses", {}),
    "cka": ("responses", {}),
    "invariance": ("responses", {}),
    "activation-atlas": ("responses", {"grid": 8, "steps": 96}),
}


def jobs(work: Work, study: Study, about: Callable[[str], bool]) -> list[Job]:
    """One job a method and layer that is asked `about`, method by method."""
    return [
        Job(name, layer, 0, repr(_method(work, name)), lambda n=name, at=layer: _studied(work, study, n, at))
        for name in FAMILIES
        for layer in work.record.facts.layers
        if about(layer) and (name != COSTLY or layer in _few(work))
    ]


def _few(work: Work) -> list[str]:
    """The layers whose activations are laid out as an atlas: four from first to last, or those that were chosen."""
    layers = list(dict.fromkeys(principals(work.net, work.record.facts.layers).values())) or [work.map_layer]
    chosen = [layer for layer in layers if work.settings.layers and work.about(layer)]
    return chosen or [layers[(len(layers) - 1) * part // 3] for part in range(4)]


def _method(work: Work, name: str) -> Any:
    family, settings = FAMILIES[name]
    parameters = {p.name for p in registry.describe(family, name).parameters}
    seeded = {"seed": work.settings.seed} if "seed" in parameters else {}
    return registry.load(family, name)(**settings, **seeded)


def _studied(work: Work, study: Study, name: str, layer: str) -> Made:
    method = _method(work, name)
    made: Result = method(work.net, layer, given(work)) if FAMILIES[name][0] == "features" else method(study, layer)
    content, files = shown(made, f"pictures/{name}/{slug(layer)}.png")
    return content | {"method": name, "settings": repr(method)}, files


def shown(result: Result, name: str) -> Made:
    """A Table or a Picture in plain values."""
    if isinstance(result, Table):
        columns = {k: np.asarray(v) for k, v in result.columns.items()}
        plain = {k: v for k, v in columns.items() if v.ndim == 1}
        meanings = {k: result.units.get(k, "") for k in plain}
        return {"kind": "table", "title": result.title, "columns": plain, "units": meanings,
                "rows": len(result), "left": [k for k in columns if k not in plain], "notes": result.notes}, {}  # fmt: skip
    assert isinstance(result, Picture)
    facts, content = sheet_of(result, name, 24)
    values = {k: v for k, v in result.values.items() if np.asarray(v).ndim == 1}
    across = {"across": result.columns} if result.columns else {}
    return {"kind": "picture", "title": result.title, "sheet": facts, "captions": result.units, "values": values, **across,
            "notes": result.notes}, {name: content}  # fmt: skip


def for_the_page(content: dict[str, Any], file: str) -> dict[str, Any]:
    """The same with the first rows only of a long table, and the name of the `file` that holds all."""
    if content["kind"] != "table" or content["rows"] <= ROWS:
        return content
    return content | {"columns": {k: v[:ROWS] for k, v in content["columns"].items()}, "file": file}


def depth(found: dict[str, dict[str, dict[str, Any]]], layers: tuple[str, ...]) -> dict[str, Any]:
    """Curves over the layers in their order, from what the jobs found: {method: {layer: content}}."""
    curves: list[dict[str, Any]] = []

    def along(method: str, read: Callable[[dict[str, Any]], float | None]) -> list[float | None]:
        return [read(found[method][layer]) if layer in found.get(method, {}) else None for layer in layers]

    def curve(method: str, name: str, meaning: str, values: list[float | None], **more: Any) -> None:
        if any(v is not None for v in values):
            curves.append({"method": method, "name": name, "unit": "share", "meaning": meaning, "values": values, **more})

    judged = next((int(n) for n in along("probe", lambda c: _where(c, "class", "all", "images")) if n is not None), 0)
    curve("probe", "linear probe", "accuracy of a linear classifier on the layer's mean responses, on images held out of "
          f"its own training, n = {judged:,}; the network itself may have been trained on them",
          along("probe", lambda c: _where(c, "class", "all", "accuracy")),
          beside={"name": "always the largest class",
                  "values": along("probe", lambda c: _where(c, "class", "all", "majority"))})
    curve("sparsity", "sparseness", "mean lifetime sparseness of all units (Vinje and Gallant 2000), 0 … 1",
          along("sparsity", lambda c: _mean(c, "sparseness")))
    alike = {layer: c["columns"] for layer, c in found.get("cka", {}).items()}
    matrix = {layer: dict(zip(columns["layer"], columns["cka"], strict=True)) for layer, columns in alike.items()}
    named = [layer for layer in layers if layer in matrix]
    return {
        "layers": layers,
        "curves": curves,
        "cka": {"layers": named, "values": [[matrix[a].get(b) for b in named] for a in named],
                "notes": _said(found["cka"]) if found.get("cka") else []},
        "invariance": {layer: c["columns"] | {"notes": c["notes"]} for layer, c in found.get("invariance", {}).items()},
        "notes": {method: _said(of) for method, of in found.items() if of},
    }


def _said(of: dict[str, dict[str, Any]]) -> list[str]:
    """What is noted about every layer; then what is noted about the first one, with its name."""
    layer, content = next(iter(of.items()))
    common = [note for note in content["notes"] if all(note in other["notes"] for other in of.values())]
    return [*common, *(f"{layer}: {note}" for note in content["notes"] if note not in common)]


def _mean(content: dict[str, Any], column: str) -> float | None:
    values = [v for v in content["columns"].get(column, []) if v is not None]
    return float(np.mean(values)) if values else None


def _where(content: dict[str, Any], key: str, value: str, column: str) -> float | None:
    columns = content["columns"]
    for at, found in enumerate(columns.get(key, [])):
        if found == value:
            return columns[column][at]
    return None
