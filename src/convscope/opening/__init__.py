"""Open a network from whatever the user has. One file per source.

a module object        open(model, example=x)
zoo:resnet18           a known architecture, arguments allowed: zoo:resnet18(num_classes=10)
demo:digits            the trained network of `convscope demo`
pkg.mod:factory        anything importable that returns a module (importing runs that code)
path/net.py:factory(num_classes=10)      a file of your own; arguments are literals
file.pt2               a program saved by torch.export
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convscope.errors import OpeningError, UsageError

if TYPE_CHECKING:
    from torch import nn

    from convscope.images import Preprocess
    from convscope.network import Network


@dataclass(frozen=True)
class Source:
    """What a source file found: a module, and what it knows about its input."""

    module: nn.Module
    name: str
    example: Any = None
    preprocess: Preprocess | None = None
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    random: bool = False  # weights are freshly initialised
    ours: bool = True  # False for the user's own object, which must not be written to
    program: Any = field(default=None, repr=False)  # an ExportedProgram, for sources that are graphs already
    folder: Path | None = None  # where it was found: files beside it belong to it (`opening.beside`)


def open(
    asked: Any,
    example: Any = None,
    *,
    weights: str | Path | None = None,
    classes: Any = None,
    preprocess: Preprocess | None = None,
    partial: bool = False,
) -> Network:
    """Open `asked` (a module, a Network, or a reference) as a Network.

    `example`: a tensor, a shape `(C, H, W)`, a tuple of tensors or a dict; needed unless the source knows its input.
    `weights`: `.safetensors`, or `.pt` read with `weights_only=True`; `partial` accepts missing names. `classes`: names,
    or a file with one per line. `preprocess`: how images become inputs. Where these two are not given, `preprocess.json`,
    `classes.txt` and `calibration.json` beside the weights, or beside the factory's file, are read; the notes say so.

    >>> open("zoo:lenet5")
    Network(lenet5, input 1×28×28, 12 layers, 61,706 parameters)
    """
    from convscope.network import Network
    from convscope.opening.beside import Beside

    if isinstance(asked, Network):
        return asked
    source = find(asked)
    module, notes = source.module, list(source.notes)
    if weights is not None:
        from convscope.opening import weights as reader

        module, loaded = reader.load_into(module, Path(weights), partial=partial, ours=source.ours)
        notes += loaded
    elif source.random:
        notes.append("weights are random (seed 0): give --weights for trained ones")
    beside = Beside.of((None if weights is None else Path(weights).parent, source.folder))
    told = weights is None and source.preprocess is not None  # a demo has read its own files
    prepared = beside.preprocess() if preprocess is None and not told else None
    named = beside.classes() if classes is None and not told else ()
    facts = {
        "reference": asked if isinstance(asked, str) else "",
        "classes": read_classes(classes) if classes is not None else named or source.classes,
        "preprocess": preprocess or prepared or source.preprocess,
        "notes": tuple(notes),
    }
    if source.program is not None and example is None:
        from convscope.opening import pt2

        net = pt2.network(source, facts)
    else:
        if example is None:
            example = source.example
        if example is None and prepared is not None and prepared.size is not None:
            example = (prepared.depth, *prepared.size)
        net = Network.open(module, example, source.name, **facts)
    return beside.told(net, preprocess=prepared is not None, classes=bool(named))


def find(asked: Any) -> Source:
    """The source that a reference or an object stands for."""
    if not isinstance(asked, (str, Path)):
        from convscope.opening import module

        return module.find(asked)
    text = str(asked)
    if text.startswith("zoo:"):
        from convscope.opening import zoo

        return zoo.find(text.removeprefix("zoo:"))
    if text.startswith("demo:"):
        from convscope.opening import demo

        return demo.find(text.removeprefix("demo:"))
    if text.endswith(".pt2"):
        from convscope.opening import pt2

        return pt2.find(Path(text))
    if text.endswith((".pt", ".pth", ".safetensors", ".bin", ".ckpt")):
        raise OpeningError(
            f"{text} holds weights, not a network",
            "a file of weights has no graph",
            f"give the code too: convscope trace file.py:factory --weights {text}",
        )
    if ":" in text:
        from convscope.opening import factory

        return factory.find(text)
    raise UsageError(
        f"{text!r} is no network reference",
        "expected zoo:NAME, demo:NAME, pkg.mod:factory, file.py:factory or file.pt2",
        "for example zoo:resnet18; `convscope list zoo` shows all",
    )


def folder_of(asked: Any, weights: str | Path | None = None) -> Path | None:
    """Where the files beside a network lie: with its weights, else with its factory's file; None where there is no place."""
    if weights is not None:
        return Path(weights).parent
    text = str(asked) if isinstance(asked, (str, Path)) else ""
    if text.startswith("demo:"):
        from convscope.opening import demo

        return demo.cache() / f"demo-{text.removeprefix('demo:')}"
    place = text if text.endswith(".pt2") else text.partition("(")[0].rpartition(":")[0]
    return Path(place).resolve().parent if place.endswith((".py", ".pt2")) else None


def read_classes(given: Any) -> tuple[str, ...]:
    """Class names: a sequence, or a text file with one name per line (a WordNet id before every name is left away)."""
    if isinstance(given, (list, tuple)):
        return tuple(map(str, given))
    path = Path(given)
    if not path.is_file():
        raise OpeningError(
            f"cannot read class names from {path}", "there is no such file", "give a text file with one name per line"
        )
    names = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    if names and all(re.match(r"n\d{8} .", name) for name in names):
        names = [name.split(" ", 1)[1] for name in names]
    return tuple(names)
