"""Networks side by side: what training changed, and how alike two networks are."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convscope.actions.networks import make, open
from convscope.errors import OpeningError, UsageError
from convscope.results import Result

if TYPE_CHECKING:
    from convscope.comparisons._images import Images
    from convscope.network import Network

WEIGHTS = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")


def compare(
    networks: Any,
    layer: str = "",
    method: str = "distance",
    *,
    checkpoints: str | Path | Iterable[str | Path] = (),
    images: Any = None,
    **parameters: Any,
) -> Result:
    """What differs between two networks, or between checkpoints of one?

    `networks`: one or several, as `open` takes them. `checkpoints`: files of weights for the first of them, or a folder of
    such files in the order of the numbers in their names; they stand in its place, in the order given. `images`: what
    the networks are shown, for methods that need it. `layer`: '' is all, where a method can.

        cs.compare("zoo:digits", checkpoints="run/kept", layer="conv1", method="filmstrip")
        cs.compare([mine, yours], method="cka", images="digits")
    """
    given = list(networks) if isinstance(networks, Sequence) and not isinstance(networks, str) else [networks]
    if not given:
        raise UsageError("no network was given", "the list is empty", "give a network and checkpoints, or two networks")
    first, *others = (open(one) for one in given)
    files = weight_files(checkpoints)
    opened = [*(with_weights(first, files) if files else [first]), *others]
    shown = None if images is None else _images(opened, images)
    asked = make("comparisons", method, parameters)
    return asked(opened, opened[0][layer].address if layer else "", shown)


def weight_files(given: str | Path | Iterable[str | Path]) -> list[Path]:
    """The files that are named; of a folder those of weights, in the order of the numbers in their names.

    Errors: OpeningError for a folder without any.
    """
    found: list[Path] = []
    for path in [given] if isinstance(given, (str, Path)) else given:
        path = Path(path)
        if not path.is_dir():
            found.append(path)
            continue
        inside = [p for p in path.iterdir() if p.suffix in WEIGHTS and not p.name.startswith(".")]
        if not inside:
            raise OpeningError(f"no weights in {path}", f"no file ends in {', '.join(WEIGHTS)}",
                               "`convscope fit … --keep-every 1 --out FOLDER` keeps some in FOLDER/kept")
        found += sorted(inside, key=_natural)
    return found


def with_weights(net: Network, files: Sequence[Path]) -> list[Network]:
    """The same network once for each file of weights, called after the file; its graph is exported no second time."""
    from convscope.opening import weights

    if net.module is None:
        raise UsageError(f"{net.name} cannot take other weights", "it was opened without a module",
                         "open it from its code: zoo:NAME, pkg.mod:factory or file.py:factory")
    stems = [path.stem for path in files]
    found: list[Network] = []
    for path, stem in zip(files, stems, strict=True):
        module, notes = weights.load_into(net.module, path, ours=False)
        state = module.state_dict()
        tensors = {key: state[net.parameter_names[key]].detach() if net.parameter_names.get(key) in state else value
                   for key, value in net.tensors.items()}
        name = stem if stems.count(stem) == 1 else f"{path.parent.name}-{stem}"
        found.append(dataclasses.replace(net, name=name, tensors=tensors, module=module, notes=tuple(notes), _at={}))
    return found


def _natural(path: Path) -> list[tuple[int, str]]:
    """'epoch-2' before 'epoch-10'."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.name)]


def _images(networks: Sequence[Network], images: Any) -> Images:
    from convscope import inputs
    from convscope.comparisons._images import Images
    from convscope.data import open_collection

    prepared = [inputs.preprocess_of(net) for net in networks]
    notes = tuple(dict.fromkeys(note for _, note in prepared if note))
    return Images(open_collection(images), tuple(one for one, _ in prepared), notes)
