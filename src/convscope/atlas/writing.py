"""Writing an atlas: the sweep, then everything that its pages show, then the page itself."""

from __future__ import annotations

import datetime
import json
import os
import shutil
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from convscope import __version__, mechanics_page, store
from convscope.addresses import slug
from convscope.atlas import long_work, pages, pictures
from convscope.atlas.work import Progress, Settings, Work, put, silent
from convscope.data import Collection
from convscope.draw import training_page
from convscope.errors import StoreError, UsageError
from convscope.images import Preprocess
from convscope.inputs import preprocess_of
from convscope.network import Network, units_of
from convscope.record import Record, measurable
from convscope.results import Cloud
from convscope.sweep import Sweep

EMBEDDED = 1 << 29  # bytes of mean responses kept at most
MECHANICS = 4  # images whose first convolutions can be stepped through without a server
STATIC = Path(__file__).parents[1] / "web" / "static"


def write(
    net: Network, collection: Collection, out: Path, settings: Settings, progress: Progress | None = None, source: str = ""
) -> Path:
    """Write the atlas of `net` over `collection` into `out`; returns the page. `source`: how to open the images again."""
    began = time.monotonic()
    report = progress or silent
    preprocess, assumed = preprocess_of(net)
    net = _with_classes(net, collection)
    layer = net[settings.map_layer].address if settings.map_layer else last_features(net)
    for name in filter(None, (part.strip() for part in settings.layers.split(","))):
        net[name]  # a layer that is not there is said before anything is done
    _own(out)
    sweep = Sweep(top=settings.top, batch=settings.batch)
    kept = embedded(net, len(collection), layer)
    record = sweep(net, collection, preprocess, out / "record", embed=kept, progress=lambda d, t, _: report(d, t, "sweep"))
    work = Work(net, collection, preprocess, record, out, settings, report, layer)
    long_work.do_jobs(work)
    if os.environ.get("RANK", "0") != "0":
        return out / "index.html"  # the sweep was shared under torchrun; one process writes the rest
    trace = net.trace()
    results = store.Store(out / "results")
    results.put("trace", trace)
    thumbs = pictures.thumbnails(work)
    for at, address in enumerate(record.facts.layers):
        table = record.table(address)
        results.put(f"layer/{address}/units", table)
        put(out, f"layer/{slug(address)}", pages.layer_page(work, address, table))
        report(at + 1, len(record.facts.layers), "layers")
    clouds = _maps(work)
    for name, cloud in clouds.items():
        results.put(f"map/{name}", cloud)
    put(out, "map", pages.map_page(layer, clouds, record))
    shown = chosen_images(record, settings.pages)
    for at, index in enumerate(shown):
        _image_page(work, index)
        report(at + 1, len(shown), "image pages")
    asides = {"mechanics": _mechanics(work, shown), "alike": _alike(work, shown)}
    put(out, "collection", pages.collection_page(work, thumbs, shown, assumed) | asides)
    made = {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "versions": trace.origin.versions,
        "seconds": round(time.monotonic() - began, 1),
        "seed": settings.seed,
        **_how(net, source, out, settings),
    }
    put(out, "training", training_page.page(out))
    put(out, "network", pages.network_page(work, trace, made) | {"long_work": long_work.write(work), "training": True})
    _page(out)
    _reopen(net, source, preprocess, out, settings)
    return out / "index.html"


def embedded(net: Network, images: int, last: str) -> tuple[str, ...]:
    """The layers whose mean responses are kept for every image: all, unless that takes more than half a gibibyte.

    Whether studies are asked for or not: they can then be added without another sweep.
    """
    found = [layer.address for layer in measurable(net.layers)]
    size = 4 * images * sum(units_of(net[address]) or 0 for address in found)
    return tuple(dict.fromkeys((*found, last))) if size <= EMBEDDED else (last,)


def last_features(net: Network) -> str:
    """The last layer before the output that has units: what the final decision is made of."""
    found = [layer.address for layer in measurable(net.layers[:-1])]
    if not found:
        return net.output.address
    return found[-1]


def chosen_images(record: Record, count: int) -> list[int]:
    """Images with a page: spread over classes (or over the collection), the usable ones, in order."""
    usable = np.flatnonzero(record.predictions()["seen"])
    if len(usable) <= count:
        return usable.tolist()
    if (record.labels[usable] >= 0).any():
        order = np.lexsort((usable, _rank_within(record.labels[usable])))
        return sorted(usable[order[:count]].tolist())
    return usable[np.linspace(0, len(usable) - 1, count).astype(int)].tolist() if count else []


def _rank_within(labels: Any) -> Any:
    """The how-manieth of its label each entry is."""
    ranks, seen = np.zeros(len(labels), int), dict[int, int]()
    for at, label in enumerate(labels.tolist()):
        ranks[at] = seen.get(label, 0)
        seen[label] = ranks[at] + 1
    return ranks


def _with_classes(net: Network, collection: Collection) -> Network:
    """Class names from the collection, where the network has none and as many outputs."""
    import dataclasses

    outputs = int(np.prod(net.output.output_shape[1:]))
    if net.classes or len(collection.classes) != outputs:
        return net
    note = f"class names are the collection's ({collection.name})"
    return dataclasses.replace(net, classes=collection.classes, notes=(*net.notes, note))


def _maps(work: Work) -> dict[str, Cloud]:
    """PCA and t-SNE of the map layer, where there are enough images."""
    from convscope import registry
    from convscope.responses._study import Study

    study = Study(work.record, work.net, work.collection, work.preprocess)
    clouds: dict[str, Cloud] = {}
    if work.record.counted < 3:
        return clouds
    work.report(0, 2, "map")
    clouds["PCA"] = registry.load("responses", "pca")(most=work.settings.points, seed=work.settings.seed)(
        study, work.map_layer
    )
    work.report(1, 2, "map")
    if work.record.counted >= 10:
        clouds["t-SNE"] = registry.load("responses", "tsne")(most=work.settings.points, seed=work.settings.seed)(
            study, work.map_layer
        )
    work.report(2, 2, "map")
    return clouds


def _image_page(work: Work, index: int) -> None:
    """One image's maps and heat-maps, unless an earlier run made them for the same network."""
    path = work.out / "data" / "image" / f"{index}.js"
    stamp = work.out / "data" / "image" / f"{index}.print"
    if path.exists() and stamp.exists() and stamp.read_text() == work.net.print:
        return
    page, files = pages.image_page(work.net, work.preprocess, work.collection[index], index, work.collection.ids[index])
    for name, content in files.items():
        target = work.out / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with store.atomic(target) as file:
            file.write(content)
    put(work.out, f"image/{index}", page)
    stamp.write_text(work.net.print)


def _alike(work: Work, shown: list[int]) -> dict[str, Any]:
    """Write `data/alike/INDEX.js` for every image that has a page; in which layers, and in which others one may ask."""
    from convscope.atlas import of_images
    from convscope.responses._study import Study

    study = Study(work.record, work.net, work.collection, work.preprocess)
    layers = of_images.kept_layers(study, work.map_layer, len(shown))
    for at, index in enumerate(shown):
        put(work.out, f"alike/{index}", of_images.alike_page(study, index, layers))
        work.report(at + 1, len(shown), "nearest images")
    return {"layers": layers, "embedded": work.record.facts.embed, "usual": work.map_layer}


def _mechanics(work: Work, shown: list[int]) -> dict[str, Any]:
    """Write `data/mechanics/INDEX.js` for the first images that have a page; which images and layers there are."""
    images, layers = shown[:MECHANICS], []
    for index in images:
        x = torch.from_numpy(np.ascontiguousarray(work.preprocess(work.collection[index])))[None]
        content = mechanics_page.offline(work.net, work.net.check_input(x))
        layers = list(content["layers"])
        put(work.out, f"mechanics/{index}", content)
    return {"images": images if layers else [], "layers": layers}


def _own(out: Path) -> None:
    """Refuse to write into a folder that holds something else."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file", "an atlas is a folder", "give another --out")
    if out.is_dir() and any(out.iterdir()) and not (out / "record").is_dir() and not (out / "atlas.json").exists():
        raise StoreError(f"{out} holds something that is no atlas", "it will not be touched", "give an empty or new folder")
    out.mkdir(parents=True, exist_ok=True)


def _page(out: Path) -> None:
    app = out / "app"
    app.mkdir(exist_ok=True)
    for path in sorted(STATIC.iterdir()):
        if path.suffix in (".html", ".js", ".css", ".svg"):
            shutil.copyfile(path, out / path.name if path.suffix == ".html" else app / path.name)


def _reopen(net: Network, source: str, preprocess: Preprocess, out: Path, settings: Settings) -> None:
    """Keep the network itself, so that the atlas can be asked more without the user's code."""
    about = {
        "convscope": __version__,
        "network": net.print,
        "name": net.name,
        "reference": net.reference,
        "classes": list(net.classes),
        "preprocess": preprocess.to_dict(),
        "source": source,
        "settings": asdict(settings),
    }
    path = out / "network.pt2"
    if not path.exists() or _print_of(out) != net.print:
        part = out / "network.part.pt2"
        torch.export.save(net.program, part)
        part.replace(path)
    with store.atomic(out / "atlas.json") as file:
        file.write(json.dumps(about, indent=1).encode())


def _print_of(out: Path) -> str:
    try:
        return json.loads((out / "atlas.json").read_text())["network"]
    except (OSError, ValueError, KeyError):
        return ""  # no atlas yet, or one that was cut short: the network is written anew


def _how(net: Network, source: str, out: Path, settings: Settings) -> dict[str, str]:
    """The command line and the Python lines that make this atlas again."""
    reference = net.reference or "YOUR_NETWORK"
    changed = {k: v for k, v in asdict(settings).items() if v != getattr(Settings(), k)}
    options = "".join(_option(k.replace("_", "-"), v) for k, v in changed.items())
    arguments = "".join(f", {k}={v!r}" for k, v in changed.items())
    return {
        "command": f"convscope atlas {reference} --images {source or 'YOUR_IMAGES'} --out {out.name}{options}",
        "python": f"import convscope as cs\nnet = cs.open({reference!r})\n"
        f"cs.atlas(net, {source or 'YOUR_IMAGES'!r}, out={out.name!r}{arguments})",
    }


def _option(name: str, value: Any) -> str:
    """A setting as the command line writes it."""
    if isinstance(value, bool):
        return f" --{'' if value else 'no-'}{name}"
    return f" --{name} {value:g}" if isinstance(value, float) else f" --{name} {value}"
