"""What do people get wrong when they write a backward pass by hand? A catalogue of mistakes that can be replayed.

One file for each operation (or family). A mistake is one function that computes the gradients the wrong way,

    @backward(Conv, "the kernel was not flipped", "flip both axes: weight[:, :, ::-1, ::-1]")
    def kernel_not_flipped(op, delta, x, weight, *bias): ...

with a sentence that says what was done, and a remedy. `forward` registers a wrong forward pass, `(op, *arrays) -> y`. A
function may return None, or None for single gradients, where its mistake cannot be made (then the right gradient stands).
"""

from __future__ import annotations

import functools
import importlib
import pkgutil

from convscope.operators._operator import Operator
from convscope.operators.mistakes._mistake import BACKWARD, CATALOGUE, FORWARD, Mistake


@functools.cache
def catalogue() -> tuple[Mistake, ...]:
    """Every mistake that is known, in the order of the files.

    >>> len({m.key for m in catalogue()}) >= 60
    True
    """
    for info in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{info.name}")
    return tuple(sorted(CATALOGUE, key=lambda m: m.make.__module__))


def of(operator: Operator, direction: str = BACKWARD) -> tuple[Mistake, ...]:
    """The mistakes that can be made with this operation: in its 'backward' or its 'forward' pass.

    >>> from convscope.operators.relu import ReLU
    >>> [m.key for m in of(ReLU())][:1]
    ['derivative forgotten']
    """
    return tuple(m for m in catalogue() if m.direction == direction and isinstance(operator, m.operators))


__all__ = ["BACKWARD", "FORWARD", "Mistake", "catalogue", "of"]
