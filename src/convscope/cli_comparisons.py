"""The command `compare`: what training changed, and how alike two networks are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from convscope import actions, registry
from convscope.console import JSON, OUT, emit, method_options, network_options, network_settings, split_parameters


@click.command()
@click.argument("networks", nargs=-1, required=True, metavar="NETWORK...")
@network_options
@click.option("--checkpoint", "checkpoints", multiple=True, type=click.Path(path_type=Path),
              help="Weights for the first network, or a folder of them; repeat it. They stand in the network's place.")
@click.option("--layer", default="", help="Which layer (default: all, where the method can).")
@click.option("--method", default="distance", show_default=True,
              help="One of: " + ", ".join(registry.names("comparisons")) + ".")
@click.option("--images", help="What the networks are shown: a folder, archive, or digits, faces, photos.")
@JSON
@OUT
@method_options("comparisons")
@click.pass_context
def compare(context: click.Context, networks: tuple[str, ...], checkpoints: tuple[Path, ...], layer: str, method: str,
            images: str | None, as_json: bool, out: Path | None, **rest: Any) -> None:
    """What differs between two networks, or between checkpoints of one?

    The first network is what the others are compared with. --weights opens the first network with trained weights; the other
    options of a network (--input, --preprocess, …) go to all.

    Examples:

    convscope compare zoo:digits --checkpoint run/kept --layer conv1 --method filmstrip --out strip.png

    convscope compare demo:digits zoo:digits --method cka --images digits
    """
    opening, parameters = split_parameters(context, "comparisons", method, rest)
    settings = network_settings(opening)
    opened = [actions.open(one, **settings if at == 0 else {**settings, "weights": None}) for at, one in enumerate(networks)]
    emit(actions.compare(opened, layer, method, checkpoints=checkpoints, images=images, **parameters), as_json, out)


COMMANDS = (compare,)
