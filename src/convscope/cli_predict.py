"""The command `predict`: what a network sees in images, how sure it may be, and whether its preprocessing fits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from convscope import actions
from convscope.console import JSON, OUT, Bar, emit, network_options, network_settings
from convscope.errors import UsageError

KINDS = ("logits", "probabilities", "log-probabilities", "sigmoid", "log-sigmoid")  # a test holds them to outputs.KINDS


@click.command()
@click.argument("network")
@click.argument("images", nargs=-1, metavar="IMAGES...")
@network_options
@click.option("--top", default=5, show_default=True, help="How many classes of each image.")
@click.option("--outputs", type=click.Choice(KINDS), help="What the last layer holds (by default that is found out).")
@click.option("--multi-label", is_flag=True, help="Every output is a yes or no of its own: sigmoid, not softmax.")
@click.option("--temperature", type=float, help="Divide the scores by this first (default: as calibrated, else 1).")
@click.option("--calibrate", metavar="DATA",
              help="Fit the temperature on labelled images, and keep it beside the weights as calibration.json.")
@click.option("--check-preprocess", is_flag=True, help="Is the preprocessing right? Tries others on IMAGES.")
@click.option("--no-look", is_flag=True, help="With several images: leave out the short look at the preprocessing.")
@JSON
@OUT
@click.pass_context
def predict(context: click.Context, network: str, images: tuple[str, ...], top: int, outputs: str | None, multi_label: bool,
            temperature: float | None, calibrate: str | None, check_preprocess: bool, no_look: bool, as_json: bool,
            out: Path | None, **opening: Any) -> None:
    """What does the network see in IMAGES? Class names and probabilities, whatever its last layer holds.

    IMAGES are files, folders, archives, or digits, faces, photos; of several, every row is an image and a rank. Beside
    --weights, or beside the factory's file, preprocess.json, classes.txt and calibration.json are read; options win.

    Examples:

    convscope predict demo:digits digits/0042

    convscope predict net.py:factory photos/ --weights run/weights.safetensors --check-preprocess

    convscope predict net.py:factory --weights run/weights.safetensors --calibrate held_out/
    """
    if check_preprocess and calibrate is not None:
        raise UsageError("--check-preprocess and --calibrate are two questions", "got both", "ask one after the other")
    if not images and calibrate is None:
        raise UsageError("there is no image to look at", "IMAGES is empty", "name a file, a folder or a built-in set")
    if images and calibrate is not None:
        raise UsageError("--calibrate fits a temperature and predicts nothing", f"got also {images[0]}",
                         "leave the images out; the next prediction uses the temperature")  # fmt: skip
    net = actions.open(network, **network_settings(opening))
    asked: Any = images[0] if len(images) == 1 else list(images)
    with Bar(context) as progress:
        if calibrate is not None:
            folder = actions.folder_of(network, opening.get("weights"))
            if folder is None:
                raise UsageError(f"{network} has no place to keep a calibration in", "it has no weights of its own",
                                 "give them: --weights FILE")  # fmt: skip
            found: Any = actions.calibrate(net, calibrate, folder, progress)
        elif check_preprocess:
            found = actions.check_preprocess(net, asked, progress)
        else:
            reading = {"multi_label": multi_label, "outputs": outputs, "temperature": temperature}
            found = actions.predict(net, asked, top, progress, check=not no_look, **reading)
    emit(found, as_json, out)


COMMANDS = (predict,)
