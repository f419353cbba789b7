"""The commands `check`, `doctor` and `settle`: why training stalls, asked of a program, of a record, or in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from convscope import actions
from convscope.console import JSON, OUT, Bar, emit, network_options, network_settings
from convscope.errors import UsageError

PROGRAM = (
    click.option("--data", help="What it is trained on: a folder, an archive, digits, or an .npz with arrays x and y."),
    click.option("--loss", help="cross-entropy, nll, bce, bce-logits, mse, mae, huber, …, or file.py:function of (output, "
                 "target) or of (output) alone. [cross-entropy]"),
    click.option("--optimizer", help="NAME:RATE,option=number, as in sgd:0.1,momentum=0.9. [adam:0.001]"),
    click.option("--batch", "batch_size", type=click.IntRange(1), help="Examples in a batch. [32]"),
    click.option("--epochs", type=click.IntRange(1), help="How many you mean to train."),
    click.option("--no-shuffle", is_flag=True, help="Batches come in the order of the data."),
    click.option("--held-out", type=click.FloatRange(0, 0.9), help="Share of the data to judge on, which is not trained "
                                                                   "on."),
    click.option("--seed", type=int, default=0, show_default=True, help="Of the order of examples."),
)  # fmt: skip


def program_options(command: Any) -> Any:
    """The options that say what is to be trained."""
    for option in reversed(PROGRAM):
        command = option(command)
    return network_options(command)


@click.command()
@click.argument("network", required=False)
@program_options
@click.option("--run", type=click.Path(path_type=Path), help="A watched training, run.npz, or losses, .csv or .txt; "
              "alone, or beside the program.")
@click.option("--prove", is_flag=True, help="Train a copy with the remedy beside an untouched one, over several seeds.")
@click.option("--seeds", type=click.IntRange(2, 10), default=3, show_default=True, help="Of the proof.")
@click.option("--seconds", type=click.FloatRange(0.5), default=4.0, show_default=True, help="For looking and short tries.")
@JSON
@OUT
@click.pass_context
def check(context: click.Context, network: str | None, run: Path | None, prove: bool, seeds: int, seconds: float,
          as_json: bool, out: Path | None, **rest: Any) -> None:  # fmt: skip
    """Why does this network not learn, or will it? Checked on copies, in seconds, before the training or after it.

    NETWORK is a network, or a factory of yours that gives a whole program: file.py:setup with
    `def setup(): return model, data, loss, optimizer`. Findings come with their numbers, the cause, the change to your code,
    and what would disprove them; --prove trains a copy with the change beside an untouched one.

    Examples:

    convscope check train.py:setup --prove

    convscope check zoo:lenet5 --data digits --preprocess unit --channels L --optimizer sgd:5 --prove

    convscope check --run run.npz
    """
    if network is None and run is None:
        raise UsageError(
            "a program or a record to check", "got neither", "convscope check NETWORK --data …, or --run run.npz"
        )
    opening, words = _parted(rest)
    with Bar(context) as progress:
        found = actions.check_reference(network, run=run, prove=seeds if prove else 0, seconds=seconds, progress=progress,
                                        network=network_settings(opening), **words)  # fmt: skip
    emit(found, as_json, out)


@click.command()
@click.argument("words", metavar="SYMPTOM")
@click.argument("network", required=False)
@program_options
@click.option("--seconds", type=click.FloatRange(0.5), default=4.0, show_default=True, help="For looking and short tries.")
@JSON
@OUT
@click.pass_context
def doctor(
    context: click.Context, words: str, network: str | None, seconds: float, as_json: bool, out: Path | None, **rest: Any
) -> None:
    """What may be wrong when … ? SYMPTOM in your words, or an error message of torch; with NETWORK and --data it is checked.

    Examples:

    convscope doctor "loss is nan after a few batches"

    convscope doctor "mat1 and mat2 shapes cannot be multiplied (32x256 and 400x120)" net.py:make --input 1x28x28

    convscope doctor "it always predicts the same class" train.py:setup
    """
    opening, said = _parted(rest)
    with Bar(context) as progress:
        found = actions.ask(
            words, network, seconds=seconds, progress=progress, network_words=network_settings(opening), **said
        )
    emit(found, as_json, out)


@click.command()
@click.argument("question", type=click.Choice(actions.SETTLED))
@click.argument("network")
@program_options
@click.option("--steps", type=click.IntRange(10), default=300, show_default=True, help="Training steps of each copy.")
@click.option("--seeds", type=click.IntRange(1, 10), default=3, show_default=True, help="Copies of each kind.")
@JSON
@OUT
@click.pass_context
def settle(
    context: click.Context, question: str, network: str, steps: int, seeds: int, as_json: bool, out: Path | None, **rest: Any
) -> None:
    """Should I normalise? Which rate? Settled by measurement: the same network trained a few hundred steps each way.

    normalise: raw, centred, standardised inputs · rate: a hundredth to a hundred times · shuffle: in order or shuffled ·
    batch: smaller and larger batches. Each kind begins with the same weights; the interval is over seeds.

    Example: convscope settle normalise train.py:setup --steps 300 --out normalise.png
    """
    opening, words = _parted(rest)
    with Bar(context) as progress:
        found = actions.settle(question, network, steps=steps, seeds=seeds, progress=progress,
                               network_words=network_settings(opening), **words)  # fmt: skip
    emit(found, as_json, out)


def _parted(rest: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """How to open the network; what is to be trained."""
    names = ("data", "loss", "optimizer", "batch_size", "epochs", "held_out", "seed")
    words = {name: rest.pop(name) for name in names}
    words["shuffle"] = False if rest.pop("no_shuffle") else None
    return rest, words


COMMANDS = (check, doctor, settle)
