"""The command `feature`: what has a unit, a layer, a class learned to look for?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from convscope import actions, registry
from convscope.console import (
    JSON,
    Bar,
    emit,
    first_process,
    method_options,
    network_options,
    network_settings,
    split_parameters,
)
from convscope.errors import UsageError


@click.command()
@click.argument("network")
@click.argument("target")
@network_options
@click.option("--method", help="One of: " + ", ".join(registry.names("features")) + ". By default dream where an image is "
              "given, filters for a convolution on the image, else activation-maximisation.")
@click.option("--image", help="A photograph for methods that start from one, such as dream: a file, or digits/0042.")
@click.option("--images", help="A collection whose colours pictures have: a folder, archive, or digits, faces, photos.")
@click.option("--record", type=click.Path(path_type=Path),
              help="Folder of a sweep (convscope respond): the strongest real responses.")
@click.option("--against", multiple=True, help="Another network, '2:conv1/3' in TARGET; repeat it for a third.")
@click.option("--guide", help="An image that a dream grows towards.")
@JSON
@click.option("--save", "--out", "save", type=click.Path(path_type=Path),
              help="Also keep the answer: .png, .html, .npz, …; .gif, .apng or .mp4: its tiles one after the other.")
@click.option("--last", type=click.Path(path_type=Path),
              help="Also keep the last tile alone, pixel for pixel, as .png: the dream itself.")
@method_options("features")
@click.pass_context
def feature(context: click.Context, network: str, target: str, method: str | None, image: str | None, images: str | None,
            record: Path | None, against: tuple[str, ...], guide: str | None, as_json: bool, save: Path | None,
            last: Path | None, **rest: Any) -> None:
    """What has this unit, layer or class learned to look for? Filters, pictures made for it, dreams.

    TARGET is a layer (conv2), a unit (conv2/37, conv2/37@5,9), a class (class:tabby), or a sum of these in words
    ('conv2/37 - 0.5*class:tabby').

    Examples:

    convscope feature demo:digits conv2/5 --save unit.png

    convscope feature demo:digits conv2 --method dream --image digits/0042 --frames 40 --save dream.gif
    """
    if last is not None and last.suffix.lower() != ".png":
        raise UsageError(f"--last {last}", "one picture is kept as .png", "give it that suffix")
    every = {p.name for n in registry.names("features") for p in registry.describe("features", n).parameters}
    opening = {k: v for k, v in rest.items() if k not in every}
    if method is not None:
        split_parameters(context, "features", method, rest)  # a wrong option is said before anything is opened
    net = actions.open(network, **network_settings(opening))
    named = method or actions.chosen(net, target, image is not None)
    _, parameters = split_parameters(context, "features", named, rest)
    others = [actions.open(one) for one in against] or None
    try:
        with Bar(context) as progress:
            found = actions.feature(net, target, method, image=image, images=images, record=record, against=others,
                                    guide=guide, progress=progress, **parameters)
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt("nothing was kept") from stop
    if last is not None and first_process():
        actions.keep_last(found, last)
        click.echo(f"kept in {last}", err=True)
    emit(found, as_json, save)


@click.command()
@click.argument("network")
@network_options
@click.option("--image", required=True, help="The image to rebuild: a file, or digits/0042.")
@click.option("--layers", default="", help="Addresses, comma-separated; by default where the map shrinks, and what follows.")
@JSON
@click.option("--save", "--out", "save", type=click.Path(path_type=Path),
              help="Also keep the pictures (.png, .html, .gif, …) or, as .csv, the numbers.")
@method_options("features", "inversion")
@click.pass_context
def rebuild(context: click.Context, network: str, image: str, layers: str, as_json: bool, save: Path | None,
            **rest: Any) -> None:
    """How much of an image can still be rebuilt from each layer, as one goes deeper?

    Example: convscope rebuild demo:digits --image digits/0042 --save rebuilt.png
    """
    own = {p.name for p in registry.describe("features", "inversion").parameters}
    net = actions.open(network, **network_settings({k: v for k, v in rest.items() if k not in own}))
    parameters = {k: v for k, v in rest.items() if k in own and v is not None}
    named = tuple(one for one in layers.split(",") if one)
    with Bar(context) as progress:
        found = actions.rebuild(net, image, named, progress=progress, **parameters)
    if save is not None and save.suffix.lower() != ".csv" and first_process():
        found.strip.save(save)
        click.echo(f"kept in {save}", err=True)
        save = None
    emit(found.table, as_json, save)


COMMANDS = (feature, rebuild)
