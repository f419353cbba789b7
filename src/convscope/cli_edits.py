"""The command `edit`: what if the network were changed?"""

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


@click.command()
@click.argument("network")
@click.argument("method", metavar="EDIT", type=click.Choice(registry.names("edits")))
@network_options
@click.option("--data", help="Images on which the drift is measured, and from which some edits learn: a folder, an archive, "
              "or digits, faces, photos.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the edited network: plain PyTorch and weights, "
              "opened again as FOLDER/network.py:network.")
@click.option("--code", is_flag=True, help="Also print the Python that does it.")
@JSON
@click.option("--save", type=click.Path(path_type=Path), help="Also keep the receipt: .npz, .png, .html, .csv, …")
@method_options("edits")
@click.pass_context
def edit(context: click.Context, network: str, method: str, data: str | None, out: Path | None, code: bool, as_json: bool,
         save: Path | None, **rest: Any) -> None:
    """What if the network were changed? A copy that is fully convolutional, a layer less, inverted, widened, pruned …

    Prints a receipt: what changed, sizes, parameters, MACs before and after, how far the answers moved.

    Examples:

    convscope edit zoo:alexnet convolutionalize --out alexnet-fcn

    convscope edit demo:digits remove --layer conv2 --data digits
    """
    opening, parameters = split_parameters(context, "edits", method, rest)
    net = actions.open(network, **network_settings(opening))
    try:
        with Bar(context) as progress:
            _, receipt = actions.edit(net, method, data=data, out=out, progress=progress, **parameters)
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt("nothing was kept") from stop
    emit(receipt, as_json, save)
    if first_process() and code:
        click.echo(f"\n{receipt.code}")
    if first_process() and out is not None:
        click.echo(f"kept in {out}; open it as {out / 'network.py'}:network", err=True)


COMMANDS = (edit,)
