"""The command `scan`: where in a larger picture does the network see a class?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from convscope import actions, fields
from convscope.console import JSON, Bar, emit, first_process, network_options, network_settings

F = TypeVar("F", bound=Callable[..., Any])
METHOD = fields.read(Path(__file__).parent / "dense" / "scan.py", "DenseScan")
_TYPES: dict[str, Any] = {"int": int, "float": float, "str": str}


def _scan_options(command: F) -> F:
    """The parameters of the scan as options, read from its source."""
    for p in reversed(METHOD.parameters):
        kind = click.Choice(list(p.choices)) if p.choices else _TYPES[p.type.removesuffix("| None").strip()]
        unit = f", {p.unit}" if p.unit else ""
        words = f"{p.help} (default {p.default!r}{unit})."
        command = click.option(p.option, p.name, type=kind, default=None, help=words)(command)
    return command


@click.command()
@click.argument("network")
@click.argument("image")
@network_options
@click.option("--target", help="The class, by name or index; by default the best class of each window.")
@_scan_options
@JSON
@click.option("--save", "--out", "save", type=click.Path(path_type=Path),
              help="Also keep the picture with its boxes (.png, .svg, .html, .npz), or the boxes (.csv, .json).")
@click.option("--map", "map_to", type=click.Path(path_type=Path), help="Also keep the score maps: .png, .npz, .html, …")
@click.pass_context
def scan(context: click.Context, network: str, image: str, target: str | None, as_json: bool, save: Path | None,
         map_to: Path | None, **rest: Any) -> None:
    """Where in a picture larger than its input does the network see a class? Every window scored, exactly, without a loop.

    Prints the best windows that do not overlap. Where the network pads its input, neighbouring windows still share all that
    does not feel the frame; what was done, and how far it is from the loop on some windows, is said below the map.

    Examples:

    convscope scan demo:faces photos/astronaut.png --target face --scales 0.25,0.2,0.16 --score margin --save faces.png

    convscope scan zoo:squeezenet1_1 street.jpg --weights squeezenet1_1.safetensors --stride 16 --map seen.png
    """
    own = {p.name for p in METHOD.parameters}
    parameters = {k: v for k, v in rest.items() if k in own and v is not None}
    net = actions.open(network, **network_settings({k: v for k, v in rest.items() if k not in own}))
    with Bar(context) as progress:
        found = actions.scan(net, image, target, progress=progress, **parameters)
    if first_process():
        for path, keep in ((save, lambda p: actions.keep_scan(found, p)), (map_to, found.heatmap.save)):
            if path is not None:
                keep(path)
                click.echo(f"kept in {path}", err=True)
    emit(found.peaks, as_json, None)


COMMANDS = (scan,)
