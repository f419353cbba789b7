"""The command `edit`: what if the network were changed? And the ablation study, which changes it part by part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from convscope import actions, fields, registry
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

STUDY = {"study": fields.read(Path(__file__).parent / "studying.py", "AblationStudy")}


@click.command()
@click.argument("network")
@click.argument("method", metavar="EDIT", type=click.Choice([*registry.names("edits"), *STUDY]))
@network_options
@click.option("--data", help="Images on which the drift is measured, and from which some edits learn: a folder, an archive, "
              "or digits, faces, photos.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the edited network: plain PyTorch and weights, "
              "opened again as FOLDER/network.py:network. Of a study: its runs, from which the same command goes on.")
@click.option("--code", is_flag=True, help="Also print the Python that does it.")
@JSON
@click.option("--save", type=click.Path(path_type=Path), help="Also keep the receipt: .npz, .png, .html, .csv, …")
@method_options("edits", **STUDY)
@click.pass_context
def edit(context: click.Context, network: str, method: str, data: str | None, out: Path | None, code: bool, as_json: bool,
         save: Path | None, **rest: Any) -> None:
    """What if the network were changed? A copy that is fully convolutional, a layer less, inverted, widened, pruned …

    Prints a receipt: what changed, sizes, parameters, MACs before and after, how far the answers moved. EDIT is one of
    those that `convscope list edits` explains, or study: every layer and block taken away in turn, judged as it is and after
    the same short fine-tuning.

    Examples:

    convscope edit zoo:alexnet convolutionalize --out alexnet-fcn

    convscope edit demo:digits remove --layer conv2 --data digits

    convscope edit demo:digits study --data digits --save study.png
    """
    opening, parameters = split_parameters(context, "edits", method, rest, **STUDY)
    net = actions.open(network, **network_settings(opening))
    if method in STUDY:
        if data is None:
            raise UsageError("a study needs images", "none were given", "give a labelled collection: --data FOLDER")
        with Bar(context) as progress:
            emit(actions.ablation(net, data, out=out, progress=progress, **parameters), as_json, save)
        return
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
