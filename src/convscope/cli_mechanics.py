"""The commands about what every operation computes: steps, and what is proved and checked with the same arithmetic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from convscope import actions, registry
from convscope.console import JSON, OUT, emit, network_options, network_settings, read_numbers
from convscope.errors import UsageError


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
@click.option("--update", is_flag=True, help="One training step on the images: what it changes in filter --channel.")
@click.option("--rate", default=0.01, show_default=True, help="Learning rate of --update.")
@JSON
@OUT
def steps(
    network: str,
    images: tuple[str, ...],
    at: str | None,
    labels: tuple[str, ...],
    update: bool,
    rate: float,
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
    if update:
        given = [f"--{k}" for k in ("inner", "array") if asked[k] is not None] + ["--at"] * (at is not None)
        if given or asked["direction"] != "forward":
            raise UsageError(f"--update does not go with {(given or ['--direction'])[0]}", "it shows a whole filter's step",
                             "choose the filter with --layer and --channel")
        how = {k: asked[k] for k in ("channel", "training")}
        emit(actions.update(net, list(images) or None, asked["layer"], label=label, rate=rate, **how), as_json, out)
        return
    emit(actions.steps(net, list(images) or None, label=label, position=position, **asked), as_json, out)


@click.command()
@click.argument("network")
@click.argument("arrays", type=click.Path(path_type=Path))
@network_options
@click.option("--image", "images", multiple=True, help="The input, where ARRAYS has no 'input'; several are a batch.")
@click.option("--label", "labels", multiple=True, help="Class of the loss, one an image, where ARRAYS has no 'labels'.")
@click.option("--loss", default="cross-entropy", show_default=True, type=click.Choice(["cross-entropy", "mse", "score"]))
@click.option("--reduction", default="mean", show_default=True, type=click.Choice(["mean", "sum"]), help="Over the batch.")
@click.option("--training/--evaluation", default=None, help="Statistics of batch norm; by default what fits the arrays.")
@JSON
@OUT
def verify(
    network: str,
    arrays: Path,
    images: tuple[str, ...],
    labels: tuple[str, ...],
    as_json: bool,
    out: Path | None,
    **rest: Any,
) -> None:
    """Is my own backpropagation right? Finds the first wrong array in ARRAYS and names the mistake.

    ARRAYS is an .npz, a .safetensors or a folder of .npy files. Names: LAYER.activation, LAYER.delta (∂L/∂ its output),
    LAYER.input_delta, LAYER.weight.gradient, LAYER.bias.gradient, LAYER.weight, LAYER.bias; input, labels, loss, output.

    Example: convscope verify zoo:lenet5 mine.npz --weights lenet.safetensors
    """
    how = {k: rest.pop(k) for k in ("loss", "reduction", "training")}
    net = actions.open(network, **network_settings(rest))
    emit(actions.verify(net, arrays, image=list(images) or None, label=list(labels) or None, **how), as_json, out)


@click.command()
@click.argument("network")
@network_options
@click.option("--layer", help="A layer; by default the first convolution.")
@click.option("--image", "images", multiple=True, help="A file or digits/0042; several are a batch. Default: random.")
@click.option("--method", help="One alone, row by row: " + ", ".join(registry.names("equivalences")) + ".")
@JSON
@OUT
def equivalences(
    network: str,
    layer: str | None,
    images: tuple[str, ...],
    method: str | None,
    as_json: bool,
    out: Path | None,
    **rest: Any,
) -> None:
    """What is this layer the same as? A matrix product, a sparse matrix, a larger kernel …, proved on its own numbers.

    Example: convscope equivalences zoo:lenet5 --layer conv2
    """
    net = actions.open(network, **network_settings(rest))
    emit(actions.equivalences(net, layer, list(images) or None, method=method), as_json, out)


COMMANDS = (steps, verify, equivalences)
