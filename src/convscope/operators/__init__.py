"""What does one operation compute? One file per operation, in NumPy alone: the textbook that runs.

Every operation is a frozen dataclass. Its fields are its settings (stride, padding, …), its methods everything that is
known about it:

    output_shape(*shapes)            the size of what comes out, from the sizes of what goes in
    parameters(*shapes)              how many learned numbers it has
    macs(*shapes)                    multiply-accumulates of one forward pass
    windows(*shapes)                 per spatial axis: what one output position reads of x (a `geometry.Window`, or WHOLE)
    forward(*arrays)                 y
    backward(delta, *arrays)         the gradient of each array, given delta = ∂L/∂y

`for_aten('conv2d')` finds the class that speaks for an operation of an exported graph.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from typing import Any

from convscope.operators._operator import Operator


@functools.cache
def all_operators() -> tuple[type[Operator], ...]:
    """Every operation, in the order of its files."""
    found: list[type[Operator]] = []
    for info in pkgutil.iter_modules(__path__):
        if info.name.startswith("_") or info.ispkg:  # the catalogue of mistakes is no operation
            continue
        module = importlib.import_module(f"{__name__}.{info.name}")
        classes = (v for v in vars(module).values() if isinstance(v, type) and issubclass(v, Operator))
        found += [cls for cls in classes if cls.__module__ == module.__name__]
    return tuple(found)


@functools.cache
def _by_aten() -> dict[str, type[Operator]]:
    return {name: cls for cls in all_operators() for name in cls.aten}


def for_aten(name: str) -> type[Operator] | None:
    """The class that speaks for the ATen operation `name` ('conv2d'), None if nobody does."""
    return _by_aten().get(name)


def read(name: str, settings: dict[str, Any], shapes: tuple[tuple[int, ...], ...]) -> Operator | None:
    """The operation of a graph node: ATen name, plain arguments by schema name, shapes of its tensor arguments."""
    cls = for_aten(name)
    return cls.read(name, settings, shapes) if cls is not None and cls.speaks_for(name, settings) else None
