"""What the commands of cli.py share: errors, progress with time left, options from dataclass fields, printing."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from convscope import draw, fields, registry
from convscope.errors import ConvscopeError, UsageError
from convscope.results import Result

F = TypeVar("F", bound=Callable[..., Any])
_TYPES: dict[str, Any] = {"int": int, "float": float, "str": str, "bool": bool}


class Commands(click.Group):
    """A group that turns our errors into one sentence and an exit code, and Ctrl-C into 130."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ConvscopeError as problem:
            click.echo(f"convscope: {problem}", err=True)
            ctx.exit(problem.exit_code)
        except KeyboardInterrupt as stop:
            click.echo(
                f"convscope: stopped; {str(stop) or 'what was kept is kept, and the same command goes on from it'}", err=True
            )
            ctx.exit(130)
        except BrokenPipeError:
            sys.stderr.close()  # the reader went away: nothing is left to say
            ctx.exit(0)


JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
OUT = click.option(
    "--out", type=click.Path(path_type=Path), help="Also keep the result: .npz, .png, .svg, .html, .csv, .json or .txt."
)


class Bar:
    """A progress bar on standard error, with the time left; silent when nobody looks."""

    def __init__(self, context: click.Context) -> None:
        asked = bool(context.find_root().obj and context.find_root().obj["quiet"])
        self.quiet = asked or not first_process() or not sys.stderr.isatty()
        self.tasks: dict[str, Any] = {}

    def __enter__(self) -> Callable[[int, int, str], None] | None:
        if self.quiet:
            return None
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self.progress.start()
        return self._show

    def _show(self, done: int, total: int, text: str) -> None:
        # One bar for all epochs, and for 'maps: gradient', 'maps: occlusion', …
        name = text.split(",")[0].split(" ")[0] if text.startswith("epoch") else text.split(": ")[0]
        if name not in self.tasks:
            self.tasks[name] = self.progress.add_task(text, total=total)
        self.progress.update(self.tasks[name], completed=done, total=total, description=text)

    def __exit__(self, *problem: object) -> None:
        if not self.quiet:
            self.progress.stop()


def first_process() -> bool:
    """Under torchrun every process runs the command; one of them speaks."""
    return os.environ.get("RANK", "0") == "0"


def emit(result: Result, as_json: bool, out: Path | None) -> None:
    """Print a result, and keep it where `out` says."""
    if not first_process():
        return
    if out is not None:
        result.save(out)
        click.echo(f"kept in {out}", err=True)
    if as_json:
        click.echo(result.to_json(indent=1))
        return
    from rich.console import Console

    Console(highlight=False).print(draw.renderable(result))


def tell(values: dict[str, Any], text: str, as_json: bool) -> None:
    """Print what was made: as words, or as JSON."""
    if not first_process():
        return
    click.echo(to_json(values) if as_json else text)


def network_options(command: F) -> F:
    """The options that say how to open a network."""
    options = (
        click.option("--input", "input_size", help="Input size CxHxW, e.g. 3x224x224; by default what the network says."),
        click.option(
            "--weights",
            type=click.Path(path_type=Path),
            help="Trained weights: .safetensors, or .pt (tensors only are read).",
        ),
        click.option("--partial", is_flag=True, help="Accept weights with missing names."),
        click.option("--classes", help="Text file with one class name per line."),
        click.option("--preprocess", help="imagenet, caffe, unit, signed, or a preprocess.json."),
        click.option("--mean", help="Per channel, comma-separated: x = (p − mean)/std."),
        click.option("--std", help="Per channel, comma-separated."),
        click.option(
            "--range", "white", type=click.Choice(["1", "255"]), help="What white is before mean and std (default 1)."
        ),
        click.option("--channels", help="RGB, BGR, L, or a number."),
        click.option("--resize", type=click.Choice(["crop", "stretch", "pad"]), help="How images get to the input size."),
        click.option("--resize-to", type=int, help="Shorter side before the crop."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def network_settings(given: dict[str, Any]) -> dict[str, Any]:
    """What `actions.open` is told, from the options of `network_options`."""
    size = given.get("input_size")
    shape = None if size is None else read_size(size)
    fine: dict[str, Any] = {}
    for name in ("mean", "std"):
        if given.get(name):
            fine[name] = read_numbers(name, given[name])
    fine |= {k: given[k] for k in ("resize", "resize_to") if given.get(k)}
    if given.get("white"):
        fine["range"] = float(given["white"])
    if given.get("channels"):
        fine["channels"] = int(given["channels"]) if given["channels"].isdigit() else given["channels"]
    preprocess: Any = given.get("preprocess")
    if fine:
        if preprocess is not None:
            raise UsageError(
                "--preprocess and its single settings exclude each other",
                f"got --preprocess and {', '.join(fine)}",
                "give one of them",
            )
        if shape is not None and len(shape) == 3:
            fine["size"] = list(shape[1:])
            fine.setdefault("resize", "stretch")
        elif "resize" in fine:
            raise UsageError("--resize needs a size to go to", "no --input was given", "for example --input 3x224x224")
        preprocess = fine
    return {
        "example": shape,
        "weights": given.get("weights"),
        "classes": given.get("classes"),
        "preprocess": preprocess,
        "partial": given.get("partial", False),
    }


def read_size(text: str) -> tuple[int, ...]:
    """'3x224x224' → (3, 224, 224)."""
    parts = text.lower().replace("×", "x").replace(",", "x").split("x")
    if not all(p.strip().isdigit() and int(p) > 0 for p in parts):
        raise UsageError(f"cannot read the input size {text!r}", "expected positive numbers", "for example 3x224x224")
    return tuple(int(p) for p in parts)


def read_numbers(name: str, text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as problem:
        raise UsageError(f"cannot read --{name} {text!r}", str(problem), "for example 0.485,0.456,0.406") from problem


def method_options(family: str, *only: str, **also: fields.Description) -> Callable[[F], F]:
    """Every parameter of every method of a family (or of some) as an option; which method it belongs to is in its help.

    `also`: what the same command does besides, by name.
    """
    found: dict[str, dict[str, fields.Parameter]] = {}  # by name of the parameter, then of the method
    for name, described in _described(family, only, also).items():
        for parameter in described.parameters:
            found.setdefault(parameter.name, {})[name] = parameter

    def decorate(command: F) -> F:
        taken = {o for p in getattr(command, "__click_params__", ()) for o in p.opts}
        for own in reversed(found.values()):
            option, name = next((p.option, p.name) for p in own.values())
            if option not in taken:
                command = click.option(option, name, type=_type_of(own), default=None, help=_words_of(own))(command)
        return command

    return decorate


def _described(family: str, only: tuple[str, ...], also: dict[str, fields.Description]) -> dict[str, fields.Description]:
    return {name: registry.describe(family, name) for name in only or registry.names(family)} | also


def _type_of(own: dict[str, fields.Parameter]) -> Any:
    """What an option takes that several methods share: what any of them takes; each then checks its own."""
    if all(p.choices for p in own.values()):
        return click.Choice(list(dict.fromkeys(choice for p in own.values() for choice in p.choices)))
    kind = next(p.type.removesuffix("| None").strip() for p in own.values())  # a test holds that they agree
    return _TYPES.get(kind, str)


def _words_of(own: dict[str, fields.Parameter]) -> str:
    """The help of an option: once where methods mean the same by it, else each in its words."""
    same: dict[str, list[str]] = {}
    for method, p in own.items():
        unit = f", {p.unit}" if p.unit else ""
        same.setdefault(f"{p.help} (default {p.default!r}{unit}).", []).append(method)
    return " ".join(f"[{', '.join(methods)}] {text}" for text, methods in same.items())


def split_parameters(
    context: click.Context, family: str, method: str, rest: dict[str, Any], **also: fields.Description
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options of the network, and the given ones of the method; an option of another method is an error that says so."""
    del context
    described = _described(family, (), also)
    own = {p.name for p in (described.get(method) or registry.describe(family, method)).parameters}
    every = {p.name for one in described.values() for p in one.parameters}
    parameters = {k: v for k, v in rest.items() if k in every and v is not None}
    strange = sorted(set(parameters) - own)
    if strange:
        raise UsageError(
            f"{method} has no option {', '.join('--' + s.replace('_', '-') for s in strange)}",
            f"it has {', '.join('--' + s.replace('_', '-') for s in sorted(own)) or 'none'}",
            f"`convscope list {family}` shows all",
        )
    return {k: v for k, v in rest.items() if k not in every}, parameters


def fit_options(command: F) -> F:
    """The settings of the training loop, read from its source."""
    described = fields.read(Path(__file__).parent / "recipe.py", "FitSettings")
    for parameter in reversed(described.parameters):
        kind = parameter.type.removesuffix("| None").strip()
        choice = click.Choice(list(parameter.choices)) if parameter.choices else _TYPES.get(kind, str)
        command = click.option(
            parameter.option,
            parameter.name,
            type=choice,
            default=None,
            help=f"{parameter.help} (default {parameter.default!r}).",
        )(command)
    return command


def to_json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False)
