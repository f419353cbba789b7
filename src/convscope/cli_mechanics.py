"""The commands about what every operation computes: steps, and what is proved and checked with the same arithmetic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from convscope import actions
from convscope.console import JSON, OUT, emit, network_options, network_settings, read_numbers


@click.command()
@click.argument("network")
@network_options
@click.option("--layer", help="A layer, a unit such as conv1/3@5,9, or loss; by default the first convolution.")
@click.option("--image", "images", multiple=True, help="A file or digits/0042; several are a batch. Default: random.")
@click.option("--at", help="Position y,x in the map (or in the kernel, for weights); default: where the number is largest.")
@click.option("--channel", type=int, help="Channel of the output (forward) or input (input), or the filter (weights).")
@click.option("--inner", type=int, help="For weights: which input channel of the filter.")
@click.option("--example", default=0, show_default=True, help="Which image of the batch.")
@click.option("--array", help="Which array the layer reads: x, other, weight, bias, weight_hh_l0 …")
@click.option(
    "--direction",
    default="forward",
    show_default=True,
    type=click.Choice(["forward", "input", "weights"]),
    help="An output value, an input's delta, or a weight's gradient.",
)
@click.option("--label", "labels", multiple=True, help="Class of the loss, one an image; by default what the network names.")
@click.option("--training", is_flag=True, help="Batch norm uses the statistics of this batch.")
@JSON
@OUT
def steps(
    network: str,
    images: tuple[str, ...],
    at: str | None,
    labels: tuple[str, ...],
    as_json: bool,
    out: Path | None,
    **rest: Any,
) -> None:
    """How does one number come about? The arithmetic of an output, a delta or a weight's gradient, with autograd's check.

    Example: convscope steps demo:digits --image digits/0042 --layer conv2 --at 3,4 --channel 5 --direction input
    """
    asked = {k: rest.pop(k) for k in ("layer", "channel", "inner", "example", "array", "direction", "training")}
    net = actions.open(network, **network_settings(rest))
    position = None if at is None else tuple(int(n) for n in read_numbers("at", at))
    label = None if not labels else labels[0] if len(labels) == 1 else labels
    emit(actions.steps(net, list(images) or None, label=label, position=position, **asked), as_json, out)


COMMANDS = (steps,)
