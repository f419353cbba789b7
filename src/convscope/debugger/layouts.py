"""In which order do somebody's arrays have their axes? Conventions are accepted and said; mix-ups are not.

Maps may be (B, C, H, W) or (B, H, W, C), batches first or last or, for one example, missing; kernels (K, C, h, w), (h, w,
C, K) or (K, h, w, C); dense weights (K, C) or (C, K); sequences (B, T, I) or (T, B, I); and each flattened. All arrays of a
kind follow one convention: the first in this list that fits all shapes, and of several the one in which most arrays are
right.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

Shape = tuple[int, ...]
MAPS, ROWS, KERNELS, MATRICES, SEQUENCES, OTHER = "maps", "rows", "kernels", "dense weights", "sequences", "other"
ORDERS: dict[str, dict[str, Shape]] = {  # name: the reference's axes in the order in which they stand
    MAPS: {
        "(B, C, H, W)": (0, 1, 2, 3),
        "(B, H, W, C)": (0, 2, 3, 1),
        "(C, H, W, B)": (1, 2, 3, 0),
        "(H, W, C, B)": (2, 3, 1, 0),
    },
    ROWS: {"(B, features)": (0, 1), "(features, B)": (1, 0)},
    KERNELS: {
        "(filter, channel, row, column)": (0, 1, 2, 3),
        "(row, column, channel, filter)": (2, 3, 1, 0),
        "(filter, row, column, channel)": (0, 2, 3, 1),
        "(row, column, filter, channel)": (2, 3, 0, 1),
    },
    MATRICES: {"(outputs, inputs)": (0, 1), "(inputs, outputs)": (1, 0)},
    SEQUENCES: {"(B, T, features)": (0, 1, 2), "(T, B, features)": (1, 0, 2)},
    OTHER: {"": ()},
}


@dataclass(frozen=True)
class Given:
    """One array of somebody's, with the shape that the same array has here (batch first) and its kind of layout."""

    name: str
    value: Any
    shape: Shape
    group: str


def group_of(shape: Shape, parameter: bool, sequence: bool = False) -> str:
    """Which list of conventions an array of this shape follows."""
    if parameter:
        return {4: KERNELS, 2: MATRICES}.get(len(shape), OTHER)
    return {4: MAPS, 2: ROWS, 3: SEQUENCES if sequence else OTHER}.get(len(shape), OTHER)


def arranged(value: Any, shape: Shape, order: Shape) -> Any:
    """`value` with its axes as here, or None where its shape does not fit the order; axes of size 1 may be missing."""
    order = order or tuple(range(len(shape)))
    stands = tuple(shape[a] for a in order)
    fits = value.shape == stands
    if not fits and value.size == prod(shape):
        without = tuple(n for n in stands if n != 1)
        flat = (shape[0], prod(shape[1:])) if order and order[0] == 0 else (prod(shape[1:]), shape[0])
        fits = tuple(n for n in value.shape if n != 1) == without or value.shape == flat or value.shape == (prod(shape),)
    return value.reshape(stands).transpose(np.argsort(order)) if fits else None


def settle(given: Sequence[Given], right: Callable[[str, Any], bool]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Every array as it is laid out here (None where no convention fits), and what was assumed.

    `right`: whether an array, so arranged, agrees with the reference.
    """
    found: dict[str, Any] = {}
    notes: list[str] = []
    for group, orders in ORDERS.items():
        mine = [g for g in given if g.group == group]
        if not mine:
            continue
        ranked = []
        for said, order in orders.items():
            made = {g.name: arranged(g.value, g.shape, order) for g in mine}
            fit = sum(v is not None for v in made.values())
            ranked.append((fit, sum(v is not None and right(k, v) for k, v in made.items()), said, made))
        best = max(range(len(ranked)), key=lambda i: (ranked[i][0], ranked[i][1], -i))
        fit, _, said, made = ranked[best]
        if fit < len(mine):  # mixed: what the convention leaves over may follow another one
            for _, _, other, also in ranked:
                more = {k: v for k, v in also.items() if made[k] is None and v is not None}
                notes += [f"{k} is read as {other}" for k in more]
                made = made | more
        if best:
            notes.append(f"{group} are read as {said}")
        found |= made
        changed = [g.name for g in mine if made[g.name] is not None and g.value.ndim != len(g.shape)]
        if changed:
            notes.append(
                f"missing or flattened axes were put in: {', '.join(changed[:6])}" + (" …" if len(changed) > 6 else "")
            )
    return found, tuple(notes)
