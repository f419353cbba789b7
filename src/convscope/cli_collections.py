"""The commands about collections of images: sweeps, the atlas and its server, training, the demo."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from convscope import actions, registry
from convscope.console import (
    JSON,
    Bar,
    emit,
    fit_options,
    method_options,
    network_options,
    network_settings,
    split_parameters,
    tell,
)


@click.command()
@click.argument("network")
@network_options
@click.option("--images", required=True, help="A folder, archive, or digits, faces, photos.")
@click.option(
    "--record",
    "--out",
    "record",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder of the sweep; taken up if it is there.",
)
@click.option("--layer", help="Show this layer's answer; by default only what was measured is listed.")
@click.option("--method", default="units", show_default=True, help="One of: " + ", ".join(registry.names("responses")) + ".")
@click.option("--layers", default="", help="Measure only these layers, comma-separated.")
@click.option(
    "--embed", default="", help="Keep these layers' mean responses of every image, comma-separated (default: --layer)."
)
@click.option("--top", default=9, show_default=True, help="Strongest images kept for each unit.")
@click.option("--batch", default=32, show_default=True, help="Images per forward pass.")
@click.option(
    "--measure", default="all", show_default=True, type=click.Choice(["top", "moments", "all"]), help="How much to measure."
)
@click.option("--project", is_flag=True, help="With top-images: each beside its projection by the deconvnet.")
@JSON
@click.option("--save", type=click.Path(path_type=Path), help="Also keep the answer: .npz, .png, .html, .csv, …")
@method_options("responses")
@click.pass_context
def respond(
    context: click.Context,
    network: str,
    images: str,
    record: Path,
    layer: str | None,
    method: str,
    layers: str,
    embed: str,
    top: int,
    batch: int,
    measure: str,
    project: bool,
    as_json: bool,
    save: Path | None,
    **rest: Any,
) -> None:
    """How does every unit respond to a whole collection? One pass over it; then ask about a layer.

    Example: convscope respond demo:digits --images digits --out record/ --layer conv2 --method top-images --unit 3 --project
    """
    opening, parameters = split_parameters(context, "responses", method, rest)
    net = actions.open(network, **network_settings(opening))
    kept = tuple(a for a in (embed or layer or "").split(",") if a)
    with Bar(context) as progress:
        found = actions.respond(
            net,
            images,
            record,
            progress=progress,
            layers=tuple(a for a in layers.split(",") if a),
            embed=kept,
            top=top,
            batch=batch,
            measure=measure,
        )
    if layer is not None:
        emit(actions.study(net, images, record, layer, method, project=project, **parameters), as_json, save)
        return
    emit(actions.swept(found), as_json, save)


SETTINGS = ("top", "batch", "pages", "thumbnails", "points", "map_layer", "seed", "features", "units", "layers", "studies",
            "minutes", "steps", "ablated")  # fmt: skip


@click.command()
@click.argument("network")
@network_options
@click.option("--images", required=True, help="A folder, archive, or digits, faces, photos.")
@click.option(
    "--out",
    default="atlas",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Folder of the atlas; gone on with if it is there.",
)
@click.option("--top", default=9, show_default=True, help="Strongest images kept for each unit.")
@click.option("--batch", default=32, show_default=True, help="Images per forward pass.")
@click.option("--pages", default=12, show_default=True, help="Images with a page of their own.")
@click.option("--points", default=2000, show_default=True, help="Most images on the map; more are sampled.")
@click.option("--thumbnails", default=20000, show_default=True, help="Most thumbnails kept.")
@click.option("--map-layer", default="", help="Layer whose responses make the map (default: the last before the output).")
@click.option("--seed", default=0, show_default=True)
@click.option(
    "--features",
    default="top",
    show_default=True,
    type=click.Choice(["top", "all", "none"]),
    help="Units with pictures, names, projections and effects: the most telling of each layer, all, or none.",
)
@click.option("--units", default=16, show_default=True, help="How many units of each layer --features top means.")
@click.option("--layers", default="", help="Only these layers' features and studies, comma-separated (default: all).")
@click.option("--studies/--no-studies", default=True, show_default=True, help="Tables about each layer: probes, CKA, …")
@click.option(
    "--minutes", default=10.0, show_default=True, help="Time for features and studies; run again to go on. 0: no limit."
)
@click.option("--steps", default=256, show_default=True, help="Steps of the ascent for a unit's picture.")
@click.option("--ablated", default=24, show_default=True, help="Images on which a unit is taken away.")
@JSON
@click.pass_context
def atlas(context: click.Context, network: str, images: str, out: Path, as_json: bool, **rest: Any) -> None:
    """Everything about a network over a collection, as a folder that a browser opens. Can be stopped and gone on with.

    Example: convscope atlas zoo:resnet18 --weights mine.safetensors --images photos/ --out atlas/ --minutes 20
    """
    settings = {k: rest.pop(k) for k in SETTINGS}
    net = actions.open(network, **network_settings(rest))
    with Bar(context) as progress:
        page = actions.atlas(net, images, out, progress=progress, **settings)
    tell(
        {"page": str(page), "folder": str(out)},
        f"{page}\nopen it in a browser, or make it live: convscope serve {out}",
        as_json,
    )


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--port", default=0, help="Port; 0 finds a free one.")
@click.option("--no-browser", is_flag=True, help="Do not open a browser.")
def serve(folder: Path, port: int, no_browser: bool) -> None:
    """Make an atlas live on this machine (127.0.0.1 only): ask for heat-maps, upload images."""
    from convscope.web import server

    server.serve(folder, port=port, open_browser=not no_browser)


@click.command()
@click.option("--out", default="demo-atlas", show_default=True, type=click.Path(path_type=Path), help="Folder of the atlas.")
@click.option("--no-serve", is_flag=True, help="Only make the atlas.")
@click.option("--port", default=0, help="Port; 0 finds a free one.")
@click.option("--no-browser", is_flag=True, help="Do not open a browser.")
@click.option("--minutes", default=0.5, show_default=True, help="Time for features and studies; run again to go on.")
@JSON
@click.pass_context
def demo(
    context: click.Context, out: Path, no_serve: bool, port: int, no_browser: bool, minutes: float, as_json: bool
) -> None:
    """Train a small network on 1,797 real handwritten digits, write its atlas, and serve it."""
    with Bar(context) as progress:
        page, accuracy = actions.demo(out, progress=progress, minutes=minutes)
    tell(
        {"page": str(page), "held_out_accuracy": accuracy},
        f"{accuracy:.2%} of the held-out digits are named right\n{page}",
        as_json,
    )
    if not no_serve:
        from convscope.web import server

        server.serve(out, port=port, open_browser=not no_browser)


@click.command()
@click.argument("network")
@click.option(
    "--images", required=True, help="A labelled collection: a folder of class folders, an archive, or digits, faces."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder for checkpoint, weights, preprocessing and record; gone on with if it is there.",
)
@click.option("--held-out", default=0.2, show_default=True, help="Share of each class held out.")
@click.option("--weights", type=click.Path(path_type=Path), help="Start from these.")
@click.option("--preprocess", help="imagenet, caffe, unit, signed, or a preprocess.json.")
@click.option(
    "--engine",
    type=click.Choice(["torch", "numpy"]),
    default="torch",
    show_default=True,
    help="Who trains; numpy: every operation by our own readable operators, no torch between opening and the weights.",
)
@click.option(
    "--keep-every",
    help="Also keep the weights every so often, in kept/ under --out: 5, '5 epochs', '100 steps'. For convscope compare.",
)
@click.option("--watch", is_flag=True, default=None, help="Measure the layers while training: a health map.")
@click.option("--precision", type=click.Choice(["float32", "float64"]), help="With --engine numpy (default float32).")
@JSON
@fit_options
@click.pass_context
def fit(
    context: click.Context,
    network: str,
    images: str,
    out: Path | None,
    held_out: float,
    weights: Path | None,
    preprocess: str | None,
    as_json: bool,
    **settings: Any,
) -> None:
    """Train a network on a labelled collection. Under torchrun the same command uses every process.

    The numpy engine gives torch's losses up to rounding (dropout draws other masks), has sgd, adam and adamw, and runs in
    one process.

    Example: convscope fit zoo:lenet5 --images digits --epochs 20 --out lenet/
    """
    given = {k: v for k, v in settings.items() if v is not None}
    with Bar(context) as progress:
        _, run = actions.fit(
            network, images, held_out=held_out, out=out, progress=progress, preprocess=preprocess, weights=weights, **given
        )
    emit(run, as_json, None)


COMMANDS = (respond, atlas, serve, demo, fit)
