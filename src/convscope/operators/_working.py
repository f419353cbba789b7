"""Arithmetic written out: how one output value, or the gradient of one number, comes about.

`Operator.explain_value(at, *arrays)` and `Operator.explain_gradient(which, at, delta, *arrays)` give a `Working`. Where the
operation is a sum of products, its terms stand there one by one; what is not has lines. The last line is the number itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from convscope.results import Grid, Line, Terms

Array = Any
Index = tuple[int, ...]


@dataclass(frozen=True)
class Working:
    """One number, worked out."""

    formula: str  # with letters
    lines: tuple[Line, ...]  # top to bottom; the last one's value is the number
    terms: Terms | None = None  # the products that a line adds up
    grids: tuple[Grid, ...] = ()

    @property
    def value(self) -> float:
        return self.lines[-1].value


def number(value: float) -> str:
    """A number inside a formula: six significant digits, a true minus sign.

    >>> number(-0.5), number(1/3)
    ('−0.5', '0.333333')
    """
    return f"{float(value):.6g}".replace("-", "−")


def plus(value: float) -> str:
    """' + 0.5' or ' − 0.5'.

    >>> plus(-0.5)
    ' − 0.5'
    """
    return f" − {number(-value)}" if value < 0 else f" + {number(value)}"


def many(n: int, thing: str) -> str:
    """'1 pixel', '2 pixels'.

    >>> many(1, "pixel"), many(3, "pixel")
    ('1 pixel', '3 pixels')
    """
    return f"{n} {thing}" + ("" if n == 1 else "s")


def ordinal(n: int) -> str:
    """'2nd', '3rd', '11th'.

    >>> ordinal(2), ordinal(11), ordinal(21)
    ('2nd', '11th', '21st')
    """
    ending = "th" if n % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{ending}"


def shape_text(shape: Sequence[int]) -> str:
    """'64×400'; a single number's shape is '1'.

    >>> shape_text((64, 400))
    '64×400'
    """
    return "×".join(map(str, shape)) or "1"


def place(name: str, at: Sequence[int]) -> str:
    """'x[0, 3, 5]'; a single number has no place.

    >>> place("x", (0, 3, 5)), place("x", ())
    ('x[0, 3, 5]', 'x')
    """
    return f"{name}[{', '.join(str(int(i)) for i in at)}]" if len(at) else name


def taken(values: Array, places: Array) -> Array:
    """The numbers (n,) of an array at places (n, axes)."""
    values = np.asarray(values)
    return values[tuple(np.asarray(places).T)] if values.ndim else np.full(len(places), values)


def name_of(arrays: Sequence[str], which: int) -> str:
    """What array `which` is called: its own name, and 'x1', 'x2', … behind an '…'.

    >>> name_of(("x", "weight"), 1), name_of(("x", "…"), 2)
    ('weight', 'x2')
    """
    return arrays[which] if which < len(arrays) and arrays[which] != "…" else f"x{which}"


def terms(left: tuple[str, Array, Array], right: tuple[str, Array, Array]) -> Terms:
    """Terms from (name, places (n, axes), values (n,)) of both factors."""
    return Terms(left[0], right[0], np.asarray(left[1], np.int64), np.asarray(right[1], np.int64),
                 np.asarray(left[2], np.float64), np.asarray(right[2], np.float64))


def sum_lines(made: Terms, what: str, offset: float = 0.0, offset_name: str = "bias", parts: Array = None,
              part: str = "channel") -> tuple[Line, ...]:
    """A sum of products in lines: part by part (`parts` (n,) numbers the part of each term), then together.

    >>> made = terms(("x", [[0], [1]], [1.0, 2.0]), ("w", [[0], [1]], [3.0, 4.0]))
    >>> [line.text for line in sum_lines(made, "y", offset=-1.0)]
    ['Σ of 2 products = 11', 'y = 11 − 1 (bias) = 10']
    """
    products = made.products
    lines: list[Line] = []
    groups = [] if parts is None else list(dict.fromkeys(np.asarray(parts).tolist()))
    if 1 < len(groups) <= 8:  # more would hide the sum
        for group in groups:
            some = products[np.asarray(parts) == group]
            lines.append(Line(f"{part} {group}: Σ of {len(some)} products = {number(some.sum())}", float(some.sum())))
    total = float(products.sum())
    lines.append(Line(f"Σ of {many(len(products), 'product')} = {number(total)}", total))
    if offset_name and offset != 0.0:
        lines.append(Line(f"{what} = {number(total)}{plus(offset)} ({offset_name}) = {number(total + offset)}",
                          total + offset))
    else:
        lines.append(Line(f"{what} = {number(total)}", total))
    return tuple(lines)
