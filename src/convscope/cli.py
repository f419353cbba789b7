"""The command line: the same sentences as in Python. `convscope --help`, `convscope COMMAND --help`.

Options of methods are read from their source by `registry`: a new leaf has its options by being there; help needs no torch.
Results go to standard output (a table, or JSON with --json), progress and errors to standard error.
Exit codes: 0 done, 1 failed, 2 the question was malformed, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from convscope import (
    __version__,
    actions,
    cli_attributions,
    cli_collections,
    cli_comparisons,
    cli_doctor,
    cli_edits,
    cli_features,
    cli_keys,
    cli_mechanics,
    cli_predict,
    cli_scan,
    registry,
)
from convscope.console import (
    JSON,
    OUT,
    Commands,
    emit,
    network_options,
    network_settings,
    to_json,
)
from convscope.errors import unknown
from convscope.fields import Parameter


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="convscope")
@click.option("-q", "--quiet", is_flag=True, help="No progress, no notes.")
@click.pass_context
def main(context: click.Context, quiet: bool) -> None:
    """Open up a convolutional network: what every layer computes, which pixels decided, what each unit responds to.

    A NETWORK is zoo:resnet18, demo:digits, package.module:factory, file.py:factory(args) or file.pt2.
    """
    context.obj = {"quiet": quiet}


@main.command()
@click.argument("network")
@network_options
@JSON
@OUT
@click.option("--no-measure", is_flag=True, help="Leave out the bytes kept for the backward pass (they need one run).")
@click.option("--backward", is_flag=True, help="Also how the backward pass gets each gradient: shapes, sizes, MACs.")
def trace(network: str, as_json: bool, out: Path | None, no_measure: bool, backward: bool, **opening: Any) -> None:
    """What does every layer compute? Sizes, parameters, MACs, receptive field, bytes for the backward pass.

    Example: convscope trace zoo:alexnet_2012 --input 3x227x227 --backward
    """
    emit(actions.open(network, **network_settings(opening)).trace(not no_measure, backward), as_json, out)


@main.command(name="list")
@click.argument("family", required=False)
@JSON
def list_(family: str | None, as_json: bool) -> None:
    """What is there? The zoo, and the methods of each family with their parameters."""
    families: dict[str, Callable[[], list[dict[str, Any]]]] = {
        "zoo": lambda: [{"name": n, "question": f"zoo:{n}"} for n in registry.factories()],
        "demo": lambda: [
            {"name": "digits", "question": "demo:digits, trained on scikit-learn's handwritten digits"},
            {"name": "planted", "question": "demo:planted, trained on images whose evidence is known"},
            {"name": "faces", "question": "demo:faces, trained on scikit-image's patches with and without a face"},
        ],
        **{f: (lambda f=f: [_described(f, n) for n in registry.names(f)]) for f in registry.FAMILIES},
    }
    if family is not None and family not in families:
        raise unknown("family", family, families, "`convscope list` shows all")
    found = {f: make() for f, make in families.items() if family in (None, f)}
    if as_json:
        click.echo(to_json(found))
        return
    for name, rows in found.items():
        click.echo(click.style(name, bold=True))
        wide = max((len(row["name"]) for row in rows), default=0) + 1
        for row in rows:
            click.echo(f"  {row['name']:<{wide}} {row['question']}")
            for p in row.get("parameters", ()):
                click.echo(f"  {'':<{wide}} {p['option']} {p['default']!r}  {p['help']}")


for command in (*cli_attributions.COMMANDS, *cli_mechanics.COMMANDS, *cli_collections.COMMANDS, *cli_comparisons.COMMANDS,
                *cli_features.COMMANDS, *cli_predict.COMMANDS, *cli_edits.COMMANDS, *cli_keys.COMMANDS,
                *cli_scan.COMMANDS, *cli_doctor.COMMANDS):
    main.add_command(command)


def _described(family: str, name: str) -> dict[str, Any]:
    found = registry.describe(family, name)
    return {"name": name, "question": found.question, "parameters": [_parameter(p) for p in found.parameters]}


def _parameter(p: Parameter) -> dict[str, Any]:
    return {
        "option": p.option, "type": p.type, "default": p.default, "help": p.help, "unit": p.unit,
        "choices": list(p.choices),
    }


if __name__ == "__main__":
    sys.exit(main())
