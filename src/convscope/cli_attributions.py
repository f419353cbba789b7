"""The command `attribute`: which pixels decided? One map, a sheet of many methods and targets, or a judgement of methods."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from convscope import actions, registry
from convscope.console import (
    JSON,
    OUT,
    Bar,
    emit,
    first_process,
    method_options,
    network_options,
    network_settings,
    split_parameters,
)
from convscope.errors import UsageError, unknown
from convscope.results import Heatmap


@click.command()
@click.argument("network")
@click.argument("image")
@network_options
@click.option(
    "--method",
    default="gradient",
    show_default=True,
    help="'all', or one or several of, comma-separated: " + ", ".join(registry.names("attributions")) + ".",
)
@click.option(
    "--target",
    multiple=True,
    help="A class (index or name) or a unit address such as features.3/17; by default the best class. Repeat it to compare.",
)
@click.option(
    "--scale",
    type=click.Choice(["each", "shared"]),
    default="each",
    show_default=True,
    help="Colours of a sheet: each method its own scale, or one for all maps of a unit.",
)
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
    target: tuple[str, ...],
    scale: str,
    evaluate: bool,
    measures: str | None,
    as_json: bool,
    out: Path | None,
    **rest: Any,
) -> None:
    """Which pixels of IMAGE decided? A signed heat-map, or a sheet of many.

    Several methods or targets make a sheet: a tile each, with its scale, and whether it keeps what the method promises; of
    two targets also the difference. Options go to every method that has them. With --method all the slow ones take fewer
    samples than alone, which is said. Ctrl-C keeps what is done.

    With --evaluate: which methods can be trusted? IMAGE may then be a folder or a collection (16 images of it are judged);
    `planted` is a made one whose evidence is known, and demo:planted a network that is trained on it.

    Example: convscope attribute demo:digits digits/0042 --method all --target 3 --target 8 --out why.png
    """
    if evaluate:
        if len(target) > 1:
            raise UsageError("--evaluate asks about one target", f"got {len(target)}", "give one --target, or none")
        _evaluate(context, (network, image, target[0] if target else None), as_json, out, rest)
        return
    if measures is not None:
        raise UsageError("--measures belongs to --evaluate", f"got --measures {measures}", "add --evaluate")
    methods = _named(method)
    if methods is None or len(methods) != 1 or len(target) > 1:
        _sheet(context, (network, image), methods, (as_json, out, scale), rest)
        return
    (alone,) = methods
    opening, parameters = split_parameters(context, "attributions", alone, rest)
    net = actions.open(network, **network_settings(opening))
    with Bar(context) as progress:
        found = actions.attribute(net, image, alone, next(iter(target), None), progress=progress, **parameters)
    emit(found, as_json, out)


def _named(method: str) -> tuple[str, ...] | None:
    """The methods that are asked for; None for all."""
    names = tuple(dict.fromkeys(part.strip() for part in method.split(",") if part.strip()))
    known = registry.names("attributions")
    strange = next((name for name in names if name not in (*known, "all")), None)
    if strange is not None or not names:
        raise unknown("attribution", strange or method, known, "`convscope list attributions` shows all, 'all' takes all")
    return None if "all" in names else names


def _sheet(
    context: click.Context,
    asked: tuple[str, str],
    methods: tuple[str, ...] | None,
    how: tuple[bool, Path | None, str],
    rest: dict[str, Any],
) -> None:
    """Map by map, so that what is done by Ctrl-C is shown and kept."""
    from convscope.draw import sheet

    out = how[1]
    if out is not None:
        sheet.keepable(out)
    every = {p.name for n in registry.names("attributions") for p in registry.describe("attributions", n).parameters}
    parameters = {k: v for k, v in rest.items() if k in every and v is not None}
    net = actions.open(asked[0], **network_settings({k: v for k, v in rest.items() if k not in every}))
    count = len(methods or registry.names("attributions"))
    maps: list[Heatmap] = []
    try:
        with Bar(context) as progress:
            for heat in actions.attribute_each(net, asked[1], methods, context.params["target"], progress, **parameters):
                maps.append(heat)
    except KeyboardInterrupt as stop:
        if not maps:
            raise KeyboardInterrupt("no map was finished") from stop
        done = len({heat.origin.method for heat in maps})
        words = f"stopped: {done} of {count} methods"
        _show([dataclasses.replace(heat, notes=(*heat.notes, words)) for heat in maps], *how)
        raise KeyboardInterrupt(f"{done} of {count} methods are in the sheet") from stop
    _show(maps, *how)


def _show(maps: Sequence[Heatmap], as_json: bool, out: Path | None, scale: str) -> None:
    from convscope.draw import sheet

    if not first_process():
        return
    if out is not None:
        sheet.save(maps, out, scale)
        click.echo(f"kept in {out}", err=True)
    if as_json:
        click.echo(sheet.table(maps).to_json(indent=1))
        return
    from rich.console import Console

    Console(highlight=False).print(sheet.renderable(maps, scale))


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


COMMANDS = (attribute,)
