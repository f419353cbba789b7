"""Which loss is a number that somebody reports? ln C, the floor under a second softmax, and other constants.

A network that knows nothing of C balanced classes pays ln C. Softmax outputs put through a second softmax give at best
probabilities e / (e + C − 1), so the loss cannot pass ln(e + C − 1) − 1. Keras cuts probabilities at 1e-7: a constant
1.0 on balanced binary labels costs half of −ln 1e-7 = 16.12.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

_COUNTS = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10, "binary": 2,
           "hundred": 100}  # fmt: skip
_SETS = {"mnist": 10, "cifar10": 10, "cifar-10": 10, "cifar100": 100, "cifar-100": 100, "imagenet": 1000, "iris": 3}
_USUAL = (2, 10, 3, 4, 5, 100, 1000, 6, 7, 8, 20)  # what is tried where nobody says how many classes there are
_NUMBER = re.compile(r"(?<![\w.-])(\d+\.\d+(?:e-?\d+)?|\d+e-\d+)(?! ?%|\d|\.\d| percent)")
_OTHERS = re.compile(r"(?:lr|rate|decay|clip|norm|momentum|dropout|split|epsilon|eps|std|seed|acc|accuracy|version|"
                     r"prob\w*)"
                     r"(?: \w+)?(?: of|=| =| is| at| with)?\s*$")  # fmt: skip


@dataclass(frozen=True)
class Figure:
    """A number that means something: 'chance' (ln C), 'floor' (softmax twice), 'cut' (probability 0 cut off), 'none'."""

    kind: str
    said: float
    exact: float
    formula: str
    classes: int | None = None


def classes_in(text: str) -> int | None:
    """How many classes does a sentence speak of?

    >>> classes_in("loss stays at 4.605, i have 100 classes"), classes_in("binary crossentropy"), classes_in("loss is flat")
    (100, 2, None)
    """
    found = re.search(r"(\d+|" + "|".join(_COUNTS) + r")[ -]?(?:exclusive )?(?:class|categor|label|digit)", text)
    if found is not None:
        return _COUNTS.get(found[1]) or int(found[1])
    for name, count in _SETS.items():
        if re.search(rf"\b{name}\b", text):
            return count
    return 2 if "binary" in text else None


def figures(text: str, classes: int | None = None) -> tuple[Figure, ...]:
    """The losses in a plain sentence that are constants; other numbers (rates, shares, accuracies) are passed over.

    >>> [f.formula for f in figures("loss stuck at 0.693, not 1.46")]
    ['ln 2', 'ln(e + 10 − 1) − 1']
    """
    classes = classes or classes_in(text)
    found: list[Figure] = []
    for match in _NUMBER.finditer(text):
        if _OTHERS.search(text[: match.start()]):
            continue
        one = _meaning(match[1], classes)
        if one is not None:
            found.append(one)
    return tuple(found)


def _meaning(written: str, classes: int | None) -> Figure | None:
    value = float(written)
    digits = len(written.split("e")[0].partition(".")[2])
    tolerance = max(0.5001 * 10**-digits, 0.002 * value)
    if 0 < value < 1e-6:
        return Figure("none", value, 0.0, "0: nothing left to lower")
    if 7.85 <= value <= 8.25 or abs(value - 16.118) < 0.03:
        return Figure("cut", value, 16.118 / (1 if value > 9 else 2), "−ln 1e-7" + ("" if value > 9 else " / 2"))
    for count in (classes,) if classes else _USUAL:
        for kind, exact, formula in (("chance", math.log(count), f"ln {count}"),
                                     ("floor", math.log(math.e + count - 1) - 1, f"ln(e + {count} − 1) − 1")):  # fmt: skip
            if abs(value - exact) <= tolerance and count > 1:
                return Figure(kind, value, exact, formula, count)
    return None
