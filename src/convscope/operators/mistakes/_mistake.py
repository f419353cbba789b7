"""A mistake as data: how to make it, what was done, and what to do instead."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from convscope.operators._operator import Operator

FORWARD, BACKWARD = "forward", "backward"
INPUT, PARAMETERS, BOTH = "input", "parameters", "both"  # which gradients a mistake spoils
Way = Callable[..., Any]


@dataclass(frozen=True)
class Mistake:
    """One way to get an operation wrong.

    `make`: (operator, delta, *arrays) -> gradients, or for the forward direction (operator, *arrays) -> y.
    """

    key: str  # 'kernel not flipped'
    did: str  # a sentence: what was done
    remedy: str  # what to do instead
    operators: tuple[type[Operator], ...]
    direction: str
    spoils: str
    make: Way

    def gradients(self, operator: Operator, delta: Any, *arrays: Any) -> tuple[Any, ...]:
        """The gradients of the arrays that this mistake spoils; None for those that it leaves alone."""
        wrong = self.make(operator, delta, *arrays) or ()
        return (*wrong, *(None,) * (len(arrays) - len(wrong)))


CATALOGUE: list[Mistake] = []


def backward(operators: Any, did: str, remedy: str, spoils: str = INPUT, key: str = "") -> Callable[[Way], Way]:
    """Enter a wrong backward pass. Its key is the function's name, with blanks, unless one is given."""
    return _enter(operators, did, remedy, (BACKWARD, spoils, key))


def forward(operators: Any, did: str, remedy: str, key: str = "") -> Callable[[Way], Way]:
    """Enter a wrong forward pass."""
    return _enter(operators, did, remedy, (FORWARD, BOTH, key))


def _enter(operators: Any, did: str, remedy: str, how: tuple[str, str, str]) -> Callable[[Way], Way]:
    classes = operators if isinstance(operators, tuple) else (operators,)

    def enter(make: Way) -> Way:
        direction, spoils, key = how
        CATALOGUE.append(Mistake(key or make.__name__.replace("_", " "), did, remedy, classes, direction, spoils, make))
        return make

    return enter


__all__ = ["BACKWARD", "BOTH", "CATALOGUE", "FORWARD", "INPUT", "PARAMETERS", "Mistake", "backward", "forward"]
