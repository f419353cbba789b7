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
from click.core import ParameterSource

from convscope import __version__, actions, cli_collections, cli_mechanics, registry
from convscope.console import (
    JSON,
    OUT,
    Bar,
    Commands,
    emit,
    method_options,
    network_options,
    network_settings,
    split_parameters,
    to_json,
)
from convscope.errors import UsageError, unknown
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


@main.command()
@click.argument("network")
@click.argument("image")
@network_options
@click.option("--top", default=5, show_default=True, help="How many classes.")
@JSON
@OUT
def predict(network: str, image: str, top: int, as_json: bool, out: Path | None, **opening: Any) -> None:
    """What does the network see in IMAGE? Its highest outputs with class names and probabilities."""
    emit(actions.predict(actions.open(network, **network_settings(opening)), image, top), as_json, out)


@main.command()
@click.argument("network")
@click.argument("image")
@network_options
@click.option(
    "--method", default="gradient", show_default=True, help="One of: " + ", ".join(registry.names("attributions")) + "."
)
@click.option("--target", help="A class (index or name) or a unit address such as features.3/17; by default the best class.")
@click.option("--evaluate", is_flag=True, help="Judge methods side by side (all, or those of --method) on IMAGE; see below.")
@click.option("--measures", help="With --evaluate, comma-separated: " + ", ".join(registry.names("evaluations")) + ".")
@JSON
@OUT
@method_options("attributions")
@click.pass_context
def attribute(
    context: click.Context,
    network: str,
    image: str,
    method: str,
    target: str | None,
    evaluate: bool,
    measures: str | None,
    as_json: bool,
    out: Path | None,
    **rest: Any,
) -> None:
    """Which pixels of IMAGE decided? A signed heat-map.

    With --evaluate: which methods can be trusted? IMAGE may then be a folder or a collection (16 images of it are judged);
    `planted` is a made one whose evidence is known, and demo:planted a network that is trained on it.

    Example: convscope attribute demo:digits digits/0042 --method occlusion --window 2 --stride 1 --out why.png
    """
    if evaluate:
        _evaluate(context, (network, image, target), as_json, out, rest)
        return
    if measures is not None:
        raise UsageError("--measures belongs to --evaluate", f"got --measures {measures}", "add --evaluate")
    opening, parameters = split_parameters(context, "attributions", method, rest)
    net = actions.open(network, **network_settings(opening))
    with Bar(context) as progress:
        found = actions.attribute(net, image, method, target, progress=progress, **parameters)
    emit(found, as_json, out)


def _evaluate(
    context: click.Context, asked: tuple[str, str, str | None], as_json: bool, out: Path | None, rest: dict[str, Any]
) -> None:
    """`attribute --evaluate`: methods by their defaults, so that their options have no place here."""
    network, images, target = asked
    every = {p.name for n in registry.names("attributions") for p in registry.describe("attributions", n).parameters}
    given = sorted("--" + k.replace("_", "-") for k in every if rest.get(k) is not None)
    if given:
        raise UsageError("--evaluate judges methods as they are by default", f"got {', '.join(given)}", "leave them out")
    chosen = context.params["method"] if context.get_parameter_source("method") is ParameterSource.COMMANDLINE else "all"
    methods = None if chosen == "all" else chosen.split(",")
    measures = context.params["measures"]
    net = actions.open(network, **network_settings({k: v for k, v in rest.items() if k not in every}))
    with Bar(context) as progress:
        found = actions.evaluate(net, images, methods, measures and measures.split(","), progress, target=target)
    emit(found, as_json, out)


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
        for row in rows:
            click.echo(f"  {row['name']:<18} {row['question']}")
            for p in row.get("parameters", ()):
                click.echo(f"  {'':<18} {p['option']} {p['default']!r}  {p['help']}")


for command in (*cli_mechanics.COMMANDS, *cli_collections.COMMANDS):
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
