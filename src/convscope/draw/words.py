"""Numbers, shapes and names as words, one way everywhere: in terminals, HTML and figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from convscope.results import Origin

_PREFIXES = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def clean(words: object) -> str:
    """One printable line: control characters, which could steer a terminal, become '�', and line breaks become spaces.

    >>> clean("tabby\\x1b[31m cat\\nfish")
    'tabby�[31m cat fish'
    """
    return "".join(c if c.isprintable() else " " if c in "\n\t\r" else "�" for c in str(words))


def count(n: int) -> str:
    """A whole number, every digit of it: 1234567 -> '1,234,567'."""
    return f"{n:,}"


def short(n: float, unit: str = "") -> str:
    """Three or four digits and an SI prefix (powers of 1000).

    >>> short(105_415_200), short(999), short(2_500, "B"), short(0)
    ('105 M', '999', '2.50 kB', '0')
    """
    for size, prefix in _PREFIXES:
        if abs(n) >= size * 0.9995:  # 999,600 is '1.00 M', never '1000 k'
            scaled = n / size
            digits = 2 if abs(scaled) < 9.995 else 1 if abs(scaled) < 99.95 else 0
            return f"{scaled:.{digits}f} {prefix}{unit}"
    return f"{number(n)} {unit}".strip()


def number(value: Any, digits: int = 4) -> str:
    """A number in at most `digits` significant digits, integers whole, with a true minus sign; NaN is 'nan'.

    >>> number(-0.123456), number(24213.7), number(1e-9), number(3), number(True)
    ('−0.1235', '24,214', '1e-09', '3', 'yes')
    """
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, (int, np.integer)):
        return f"{int(value):,}".replace("-", "−")
    if isinstance(value, Fraction):
        return str(value).replace("-", "−")
    wide = 10**digits <= abs(value) < 1e9  # whole digits are easier to read than an exponent
    words = f"{float(value):,.0f}" if wide else f"{float(value):.{digits}g}"
    return "−" + words[1:] if words.startswith("-") else words


def aligned(values: Any, digits: int = 4) -> list[str]:
    """A column of numbers with the same number of decimals, so that the points stand under each other.

    The largest has `digits` significant digits; what would come out as zero without being zero keeps its own form.

    >>> aligned([12.5, -0.25, 0.0, 1e-7])
    ['12.50', '−0.25', '0.00', '1e-07']
    """
    numbers = np.asarray(values)
    if numbers.dtype.kind == "f":
        numbers = numbers.astype(np.float64)  # half precision has no room for the bounds below
    sizes = np.abs(numbers[np.isfinite(numbers)]) if numbers.dtype.kind == "f" else np.zeros(0)
    if not sizes.size or not 1e-6 < sizes.max() < 1e9:
        return [number(v, digits) for v in numbers]
    decimals = max(0, digits - 1 - int(np.floor(np.log10(sizes.max()))))
    return [number(v, digits) if not np.isfinite(v) or 0 < abs(v) < 0.5 * 10.0**-decimals
            else f"{v:,.{decimals}f}".replace("-", "−") for v in numbers]


def plural(n: int, what: str) -> str:
    """'1 tile', '2,048 tiles'."""
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def value(anything: Any) -> str:
    """Whatever stands in a cell: a number, a string, or an array of them, abbreviated beyond six.

    >>> value(np.arange(9)), value("tabby"), value(None)
    ('0 1 2 3 4 5 … (9)', 'tabby', '–')
    """
    if anything is None:
        return "–"
    if isinstance(anything, np.ndarray) and anything.ndim:
        flat = anything.reshape(-1)
        listed = " ".join(value(v) for v in flat[:6])
        return listed + (f" … ({'×'.join(map(str, anything.shape))})" if flat.size > 6 else "")
    if isinstance(anything, np.ndarray):
        return value(anything[()])
    if isinstance(anything, (bool, int, float, Fraction, np.bool_, np.integer, np.floating)):
        return number(anything)
    return clean(anything)


def shape(sizes: Iterable[int]) -> str:
    """A shape without its batch axis: (1, 64, 55, 55) -> '64×55×55'."""
    return "×".join(str(n) for n in list(sizes)[1:]) or "1"


def pairs(facts: Mapping[str, Any]) -> str:
    """Named values in one line: {'sum': 0.5, 'gap': 1e-7} -> 'sum 0.5 · gap 1e-07'."""
    return " · ".join(f"{clean(name)} {value(fact)}" for name, fact in facts.items())


def origin(made: Origin) -> str:
    """How it was made, in one line; empty if nobody said."""
    parts = [clean(made.method), f"network {clean(made.network)}" if made.network else "",
             f"input {clean(made.input)}" if made.input else "", f"seed {made.seed}" if made.seed is not None else ""]
    parts += [f"{clean(name)} {clean(version)}" for name, version in made.versions.items()]
    return " · ".join(p for p in parts if p)


def shown(n: int, of: int, what: str) -> str:
    """'8 of 20 images drawn', or nothing when all are."""
    return f"{n:,} of {of:,} {what} drawn" if n < of else ""
