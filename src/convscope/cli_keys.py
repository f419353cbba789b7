"""The commands `key …`: images stored unreadable, and how far the attacks on them come."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from convscope.actions import keying
from convscope.console import JSON, OUT, Bar, emit, fit_options, network_options, network_settings, read_size, tell
from convscope.results import Result

FILE = click.argument("file", type=click.Path(path_type=Path))
DATA = click.option("--data", required=True, help="Images: a folder, archive, or digits, faces, photos.")
PICTURE = click.option("--picture", "pictured", type=click.Path(path_type=Path), help="Keep the pictures: .png, .html, …")


@click.group()
def key() -> None:
    """Keyed images: stored unreadable, and read all the same by a network whose first filters carry the key.

    A key hides pictures from a glance. It is obfuscation and no proof of secrecy: `convscope key attack` shows how far each
    attack comes. A key is a file that only you can read; keep it apart from the images.

    \b
    convscope key new my.key --kind orthogonal --block 4 --size 1x8x8
    convscope key apply my.key digits --out keyed.npz
    convscope key fit "convscope.keys.patches:patch_net()" keyed.npz --out run
    convscope edit NETWORK keyed --key my.key
    convscope key attack my.key --data digits --picture attacks.png
    """


@key.command()
@FILE
@click.option("--kind", default="orthogonal", show_default=True, help="orthogonal, permutation (of the pixels in a block), "
              "or shuffle (of the blocks).")
@click.option("--block", default=4, show_default=True, help="Side of a block in pixels.")
@click.option("--size", required=True, help="Size of the images CxHxW, e.g. 3x32x32.")
@click.option("--seed", type=int, help="For experiments only: a key that can be made again is no secret.")
@JSON
def new(file: Path, kind: str, block: int, size: str, seed: int | None, as_json: bool) -> None:
    """Make a key and keep it in FILE (mode 0600); an existing file is never written over.

    Example: convscope key new my.key --kind permutation --block 8 --size 3x64x64
    """
    made = keying.new_key(file, kind, block, read_size(size), seed)
    tell(made, keying.told(made), as_json)


@key.command()
@FILE
@click.argument("images")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Where to keep them: a .npz.")
@click.option("--like", help="A network whose preprocessing goes before the key: what its keyed edit reads.")
@click.option("--preprocess", help="imagenet, caffe, unit, signed, or a preprocess.json, before the key.")
@JSON
@click.pass_context
def apply(context: click.Context, file: Path, images: str, out: Path, like: str | None, preprocess: str | None,
          as_json: bool) -> None:
    """Store IMAGES unreadable. Moved pixels stay pixels (uint8); orthogonal keys give numbers (float32).

    Example: convscope key apply my.key digits --out keyed.npz
    """
    with Bar(context) as progress:
        made = keying.key_images(file, images, out, like=like, preprocess=preprocess, progress=progress)
    tell(made, keying.told(made), as_json)


@key.command()
@FILE
@click.argument("keyed", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Where to keep the plain images: a .npz.")
def undo(file: Path, keyed: Path, out: Path) -> None:
    """Turn the images of KEYED back into plain ones.

    Example: convscope key undo my.key keyed.npz --out plain.npz
    """
    count = keying.restore_images(file, keyed, out)
    tell({"out": str(out), "images": count}, f"{count} plain images in {out}", False)


@key.command()
@click.argument("network")
@click.argument("keyed", type=click.Path(path_type=Path))
@fit_options
@click.option("--held-out", default=0.2, show_default=True, help="Share of the images held out, of each class.")
@JSON
@OUT
@click.pass_context
def fit(context: click.Context, network: str, keyed: Path, held_out: float, as_json: bool, out: Path | None,
        **settings: Any) -> None:
    """Train NETWORK on the keyed images of KEYED; --out is a folder for weights and record.

    Example: convscope key fit "convscope.keys.patches:patch_net(block=4)" keyed.npz --epochs 5 --out run
    """
    given = {name: value for name, value in settings.items() if value is not None}
    with Bar(context) as progress:
        _, run = keying.fit_keyed(network, keyed, out=out, held_out=held_out, progress=progress, **given)
    emit(run, as_json, None)


@key.command()
@FILE
@DATA
@click.option("--seed", default=0, show_default=True, help="Of the images drawn and of all attacks.")
@click.option("--steps", type=int, help="Training steps of the learned inverse (default 800).")
@PICTURE
@JSON
@OUT
@click.pass_context
def attack(context: click.Context, file: Path, data: str, seed: int, steps: int | None, pictured: Path | None, as_json: bool,
           out: Path | None) -> None:
    """How far do the known attacks come? Jigsaw, statistics, known pairs, a learned inverse, leaked gradients.

    Example: convscope key attack my.key --data digits --picture attacks.png
    """
    with Bar(context) as progress:
        found = keying.attack_key(file, data, seed=seed, steps=steps, progress=progress)
    _both(found.table, found.picture, pictured, as_json, out)


@key.command()
@FILE
@DATA
@fit_options
@JSON
@OUT
@click.pass_context
def accuracy(context: click.Context, file: Path, data: str, as_json: bool, out: Path | None, **settings: Any) -> None:
    """What does the key cost? The same networks trained on plain and on keyed images, from the same seed.

    Example: convscope key accuracy my.key --data digits --epochs 5
    """
    given = {name: value for name, value in settings.items() if value is not None}
    with Bar(context) as progress:
        found = keying.key_accuracy(file, data, progress=progress, **given)
    emit(found, as_json, out)


@key.command()
@click.argument("network")
@network_options
@click.option("--layer", "layers", multiple=True, required=True, help="Where the front part ends; repeat it for several.")
@DATA
@click.option("--seed", default=0, show_default=True, help="Of the images drawn, the head and the inverter.")
@click.option("--steps", type=int, help="Training steps of the inverter (default 800).")
@PICTURE
@JSON
@OUT
@click.pass_context
def front(context: click.Context, network: str, layers: tuple[str, ...], data: str, seed: int, steps: int | None,
          pictured: Path | None, as_json: bool, out: Path | None, **opening: Any) -> None:
    """The one-way option: store features of a frozen front part. What do they still show of the image?

    Example: convscope key front demo:digits --layer conv1 --layer conv2 --data digits --picture rebuilt.png
    """
    from convscope import actions

    net = actions.open(network, **network_settings(opening))
    with Bar(context) as progress:
        table, picture = keying.key_front(net, layers, data, steps=steps, seed=seed, progress=progress)
    _both(table, picture, pictured, as_json, out)


def _both(table: Result, picture: Result, pictured: Path | None, as_json: bool, out: Path | None) -> None:
    if pictured is not None:
        picture.save(pictured)
        click.echo(f"pictures in {pictured}", err=True)
    emit(table, as_json, out)


COMMANDS = (key,)
