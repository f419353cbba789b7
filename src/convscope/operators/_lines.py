"""What several operators need to write a line of arithmetic: numbers in the place of letters, and long sums kept short."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from convscope.errors import UsageError
from convscope.operators._working import number
from convscope.results import Line

SHOWN = 8  # parts of a sum that are written one by one


def filled(formula: str, values: Mapping[str, Any]) -> str:
    """A formula with numbers for its letters; a negative one in brackets where a sign or a power would misread it.

    >>> filled("max(x, 0) + 2 · x", {"x": -0.5})
    'max(−0.5, 0) + 2 · (−0.5)'
    """
    def put(found: re.Match[str]) -> str:
        value = values[found[0]]
        text = number(value) if isinstance(value, (int, float)) else str(value)
        before, after = formula[:found.start()].rstrip()[-1:], formula[found.end():].lstrip()[:1]
        return f"({text})" if text.startswith("−") and (before in tuple("·^−+/√") or after in tuple("^²³")) else text

    names = "|".join(map(re.escape, values))
    return re.sub(rf"(?<![\w\[])(?:{names})(?![\w\[(])", put, formula)  # 'min(' is a function, not a setting


def largest(values: Sequence[float], text: Callable[[int], str], others: str) -> list[Line]:
    """Parts of a sum, each with its text: all if they are few, else the largest in their order and the rest together.

    >>> [line.text for line in largest(range(10), lambda i: f"part {i} = {i}", "parts")][-2:]
    ['part 9 = 9', 'the other 2 parts = 1']
    """
    if len(values) <= SHOWN:
        return [Line(text(i), float(value)) for i, value in enumerate(values)]
    order = np.argsort(-np.abs(np.asarray(values, np.float64)), kind="stable")
    rest = float(sum(values[i] for i in order[SHOWN:]))
    return [*(Line(text(int(i)), float(values[i])) for i in np.sort(order[:SHOWN])),
            Line(f"the other {len(order) - SHOWN} {others} = {number(rest)}", rest)]


def require_gradient(operator: Any, which: int, given: Sequence[int]) -> None:
    """UsageError unless array number `which` is among those that have a gradient."""
    if which in given:
        return
    names = operator.arrays
    name = names[which] if which < len(names) else f"array {which}"
    having = ", ".join(names[i] if i < len(names) else f"array {i}" for i in given)
    raise UsageError(f"{name} of {type(operator).__name__} has no gradient", "it is not differentiated by",
                     f"choose among {having}")


def count(sizes: Sequence[int]) -> str:
    """'2·3·4 = 24', or '5' for a single axis.

    >>> count((2, 3, 4)), count((5,)), count(())
    ('2·3·4 = 24', '5', '1')
    """
    total = 1
    for n in sizes:
        total *= n
    return f"{'·'.join(map(str, sizes))} = {total}" if len(sizes) > 1 else str(total)


def at_text(at: Sequence[int]) -> str:
    """'[1,2,3]'; nothing for the index of a single number."""
    return f"[{','.join(str(int(i)) for i in at)}]" if len(at) else ""


def factor(value: float) -> str:
    """A number after a sign: '2', '(−2)'."""
    return f"({number(value)})" if value < 0 else number(value)
