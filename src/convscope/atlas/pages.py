"""What the page of an atlas is told: plain values for each of its views. Shapes are described in docs/atlas.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from convscope import tally
from convscope.addresses import slug
from convscope.atlas import pictures
from convscope.draw.trace import formula
from convscope.network import Network, map_of, units_of
from convscope.record import LEVELS, Record
from convscope.results import Cloud, Layer, Table, Trace

if TYPE_CHECKING:
    from convscope.atlas.work import Work
    from convscope.images import Preprocess

SHOWN = ("mean", "deviation", "minimum", "maximum", "zeros", "fires", "selectivity", "preferred")
MANY = 100  # more classes than this, and a unit names its five strongest only


def network_page(work: Work, trace: Trace, made: dict[str, Any]) -> dict[str, Any]:
    """What the first page shows: the network, its layers, and what was noticed about them."""
    net = work.net
    measured = set(work.record.facts.layers)
    silent = {a: silent_units(work.record, a) for a in measured if net[a].operator == "relu"}
    return {
        "name": net.name,
        "reference": net.reference,
        "print": net.print,
        "input_shape": net.input_shape,
        "parameters": trace.parameters,
        "macs": trace.macs,
        "notes": trace.notes,
        "classes": net.classes,
        "layers": [
            layer_facts(layer, net, layer.address in measured) | zeros_of(work.record, layer.address)
            for layer in trace.layers
        ],
        "highlights": highlights(work, trace, silent),
        "preprocess": work.preprocess.describe(),
        "made": made,
    }


def layer_facts(layer: Layer, net: Network, measured: bool) -> dict[str, Any]:
    """One layer's row: sizes, costs, receptive field, settings."""
    image = net.input_shape[2:]
    field = None
    if layer.fields is not None and image:
        cover = np.prod([f.coverage(n) for f, n in zip(layer.fields, image, strict=True)])
        field = {
            "size": [f.size for f in layer.fields],
            "stride": [float(f.stride) for f in layer.fields],
            "start": [float(f.start) for f in layer.fields],
            "coverage": float(cover),
            "aligned": all(f.aligned for f in layer.fields),
        }
    return {
        "address": layer.address,
        "slug": slug(layer.address),
        "operator": layer.operator,
        "input_shapes": layer.input_shapes,
        "output_shape": layer.output_shape,
        "parents": layer.parents,
        "parameters": layer.parameters,
        "macs": layer.macs,
        "saved": layer.saved,
        "field": field,
        "settings": layer.settings,
        "formula": formula(layer) or None, "unshared": layer.unshared,
        "module": layer.module,
        "module_type": layer.module_type,
        "source": layer.source,
        "units": units_of(layer),
        "page": measured,
    }


def zeros_of(record: Record, address: str) -> dict[str, float]:
    """The mean share of zeros over a measured layer's units."""
    if address not in record.facts.layers:
        return {}
    columns = record.table(address).columns
    return {"zeros": float(columns["zeros"].mean())} if "zeros" in columns else {}


def silent_units(record: Record, address: str) -> int:
    """Units that were never above zero on any image."""
    return int((record.table(address).columns["maximum"] <= 0).sum())


def highlights(work: Work, trace: Trace, silent: dict[str, int]) -> list[dict[str, str]]:
    """Three or four things worth a look, each with a link."""
    found: list[dict[str, str]] = []
    if trace.parameters:
        heavy = max(trace.layers, key=lambda layer: layer.parameters)
        share = heavy.parameters / trace.parameters
        found.append(
            {
                "text": f"{share:.0%} of the {trace.parameters:,} parameters are in {heavy.address}",
                "link": f"#/layer/{heavy.address}",
            }
        )
    image = work.net.input_shape[2:]
    for layer in trace.layers:
        if layer.fields is not None and image and all(f.coverage(n) >= 1 for f, n in zip(layer.fields, image, strict=True)):
            found.append(
                {
                    "text": f"{layer.address} is the first layer whose units can see the whole image",
                    "link": f"#/layer/{layer.address}",
                }
            )
            break
    worst = max(silent, key=lambda a: silent[a], default=None)
    if worst is not None and silent[worst]:
        units = units_of(work.net[worst])
        found.append(
            {"text": f"{silent[worst]} of {units} units in {worst} never fire on these images", "link": f"#/layer/{worst}"}
        )
    accuracy = _accuracy(work)
    if accuracy is not None:
        found.append({"text": f"{accuracy:.1%} of these labelled images are named right", "link": "#/map"})
    return found[:4]


def collection_page(work: Work, thumbs: dict[str, Any], shown: list[int], assumed: str) -> dict[str, Any]:
    """What the page of all images shows: thumbnails, classes, and what could not be used."""
    record = work.record
    guesses = record.predictions()
    seen = guesses["seen"]
    share = np.where(seen[:, None], guesses["probability"], np.nan)
    keep = min(5, int(np.prod(work.net.output.output_shape[1:])))
    skipped = [{"id": i, "reason": reason} for i, reason in record.skipped]
    remarks = [f"{text}: {count} images" for text, count in work.collection.remarks.items()]
    return {
        "name": work.collection.name,
        "count": len(record.ids),
        "classes": work.collection.classes,
        "ids": record.ids,
        "labels": record.labels,
        "thumbs": thumbs,
        "accuracy": _accuracy(work),
        "pages": shown,
        "skipped": skipped,
        "predictions": {
            "kind": "probabilities of the five highest outputs",
            "top": guesses["index"][:, :keep],
            "probability": share[:, :keep],
        },
        "notes": [*work.collection.notes, *remarks, *([assumed] if assumed else [])],
    }


def _accuracy(work: Work) -> float | None:
    """Share of labelled images whose first guess is their label; None where network and collection name other classes."""
    record = work.record
    if tuple(work.net.classes) != tuple(work.collection.classes):
        return None
    known = (record.labels >= 0) & record.predictions()["seen"]
    return float((record.predictions()["index"][known, 0] == record.labels[known]).mean()) if known.any() else None


def layer_page(work: Work, address: str, table: Table) -> dict[str, Any]:
    """What the page of one layer shows: its units and what each did over the collection."""
    layer, record, columns = work.net[address], work.record, table.columns
    units, size = len(table), map_of(layer)
    position = columns["top_position"]
    flat = size is None or len(size) != 2
    nowhere = np.full_like(position, -1)
    y, x = (nowhere, nowhere) if flat else np.divmod(position, size[1])  # type: ignore[index]
    named = columns.get("class_means")
    few = named is not None and named.shape[1] <= MANY
    filters = pictures.filter_sheet(work, address)
    shown = {k: columns[k] for k in SHOWN if k in columns} | ({} if filters is None else {"norm": filters.pop("norm")})
    meanings = {k: v for k, v in table.units.items() if k in shown} | {"norm": "Euclidean length of the unit's weights"}
    return {
        "address": address,
        "units": units,
        "map": size,
        "count": record.counted,
        "columns": shown,
        "meanings": meanings,
        "top": {
            "k": record.facts.top,
            "image": columns["top_image"],
            "value": columns["top_value"],
            "y": _known(y),
            "x": _known(x),
        },
        "quantiles": {"levels": LEVELS, "values": columns["quantiles"]} if "quantiles" in columns else None,
        "histogram": histogram(record, address),
        "class_means": named if few else None,
        "class_top": None if named is None or few else strongest_classes(named),
        "filters": filters,
        "notes": table.notes,
    }


def _known(values: Any) -> list[list[int | None]]:
    return [[None if v < 0 else int(v) for v in row] for row in values.tolist()]


def strongest_classes(means: Any) -> dict[str, Any]:
    filled = np.nan_to_num(means, nan=-np.inf)
    index = np.argsort(-filled, axis=1, kind="stable")[:, :5]
    return {"index": index, "value": np.take_along_axis(filled, index, 1)}


def histogram(record: Record, address: str, bins: int = 24) -> dict[str, Any] | None:
    """The log-binned counts on equal steps between the unit's extremes, for drawing."""
    found = record.tally(address)
    if not found.full:
        return None
    counts = found.histogram.numpy().reshape(found.units, tally.BINS)
    edges = tally.bin_edges()
    middle = (edges[:-1] + edges[1:]) / 2
    low = np.minimum(np.where(np.isfinite(found.minimum), found.minimum, 0), 0).astype(float)
    high = np.maximum(found.value[:, 0], low + 1e-9).astype(float)
    out = np.zeros((found.units, bins), np.int64)
    for unit in range(found.units):
        used = np.flatnonzero(counts[unit])
        at = ((middle[used] - low[unit]) / (high[unit] - low[unit]) * bins).astype(int).clip(0, bins - 1)
        np.add.at(out[unit], at, counts[unit, used])
    return {"low": low, "high": high, "counts": out}


def map_page(layer: str, clouds: dict[str, Cloud], record: Record) -> dict[str, Any]:
    """What the page of one map of images shows: points and what they are coloured by."""
    number = {i: at for at, i in enumerate(record.ids)}
    first = next(iter(clouds.values()), None)
    ids = first.ids if first is not None else ()
    views = []
    for name, cloud in clouds.items():
        place = {i: at for at, i in enumerate(cloud.ids)}
        order = [place[i] for i in ids]  # every view lists the same images in the same order
        views.append({"name": name, "points": cloud.points[order], "axes": cloud.axes, "notes": cloud.notes})
    return {"layer": layer, "views": views, "index": [number[i] for i in ids]}


def image_page(
    net: Network, preprocess: Preprocess, pixels: Any, index: int | str, name: str
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """One image: what the network sees, the maps of every layer, heat-maps for its own answer. Files by name."""
    return pictures.image_page(net, preprocess, pixels, index, name)
