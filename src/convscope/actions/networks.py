"""Networks: open one, look at its layers, ask what it sees."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convscope import registry
from convscope.errors import UsageError
from convscope.results import Trace

if TYPE_CHECKING:
    from convscope.images import Preprocess
    from convscope.network import Network

Progress = Callable[[int, int, str], None]  # done, total, of what; may raise to stop


def open(
    network: Any,
    example: Any = None,
    *,
    weights: str | Path | None = None,
    classes: Any = None,
    preprocess: str | Preprocess | Mapping[str, Any] | None = None,
    partial: bool = False,
) -> Network:
    """Open a network: a module with an example input, or a reference such as `zoo:resnet18` (see `convscope.opening`).

    `preprocess`: a name ('imagenet', 'unit', …), a `preprocess.json`, a mapping of its fields, or a Preprocess.

    >>> open("zoo:lenet5")
    Network(lenet5, input 1×28×28, 12 layers, 61,706 parameters)
    """
    from convscope import opening

    return opening.open(
        network, example, weights=weights, classes=classes, preprocess=read_preprocess(preprocess), partial=partial
    )


def read_preprocess(given: Any) -> Preprocess | None:
    """A Preprocess from a name, a file, a mapping, or itself."""
    from convscope import images

    if given is None or isinstance(given, images.Preprocess):
        return given
    if isinstance(given, Mapping):
        return images.Preprocess.from_dict(dict(given))
    return images.preset(str(given))


def read_pixels(image: Any) -> Any:
    """uint8 (H, W, C) of a file, a built-in id ('digits/0042') or an array."""
    from convscope import inputs

    return inputs.read_pixels(image)


def make(family: str, method: str, parameters: Mapping[str, Any]) -> Any:
    """A method by name with its parameters, or an error that lists the ones it has."""
    described = registry.describe(family, method)
    known = {p.name for p in described.parameters}
    strange = [k for k in parameters if k not in known]
    if strange:
        raise UsageError(
            f"{method} has no parameter {', '.join(map(repr, strange))}",
            f"it has {', '.join(sorted(known)) or 'none'}",
            f"`convscope list {family}` shows all",
        )
    return registry.load(family, method)(**parameters)


def trace(network: Any, example: Any = None, *, backward: bool = False, **how: Any) -> Trace:
    """What does every layer compute? Sizes, parameters, MACs, receptive fields, bytes kept for the backward pass.

    `backward`: also how the backward pass gets each gradient, with its sizes and MACs.
    """
    return open(network, example, **how).trace(backward=backward)
