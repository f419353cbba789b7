"""Sums of products over one axis, written out: what dense layers, matrix products and attention share.

    y[i, j] = Σ_c left[i, c] · right[c, j]

A whole batch goes through a dense layer as one such product.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from convscope.operators._broadcast import copies_of
from convscope.operators._working import shape_text, taken, terms
from convscope.results import Grid, Line, Terms


def product_text(left: tuple[int, int], right: tuple[int, int], turned: str = "") -> str:
    """The sizes of a matrix product; `turned` names the factor that is transposed: 'left', 'right' or neither.

    >>> product_text((64, 400), (120, 400), "right")
    '(64×400) · (120×400)ᵀ = (64×120)'
    """
    rows = left[1] if turned == "left" else left[0]
    columns = right[0] if turned == "right" else right[1]
    marks = ("ᵀ" if turned == "left" else "", "ᵀ" if turned == "right" else "")
    return f"({shape_text(left)}){marks[0]} · ({shape_text(right)}){marks[1]} = ({rows}×{columns})"


def whole(what: str, text: str, count: int) -> Line:
    """The line that says which matrix product a number belongs to; its value is the number of products in it."""
    return Line(f"{what}: {text}, {count:,} products", float(count))


def along(left: tuple[str, Any, tuple[int | None, ...]], right: tuple[str, Any, tuple[int | None, ...]]) -> Terms:
    """The products along one axis of two arrays: (name, array, index with None for that axis) of each.

    >>> along(("x", np.ones((2, 3)), (1, None)), ("w", np.eye(3), (None, 2))).products.tolist()
    [0.0, 0.0, 1.0]
    """
    found = []
    for name, values, index in (left, right):
        n = values.shape[index.index(None)]
        places = np.array([[c if i is None else i for i in index] for c in range(n)], np.int64).reshape(n, len(index))
        found.append((name, places, taken(values, places)))
    return terms(found[0], found[1])


def row_grid(name: str, values: Any, index: tuple[int | None, ...]) -> Grid:
    """The row (n,) of an array that an index with one None leaves."""
    return Grid(name, np.asarray(values)[tuple(slice(None) if i is None else i for i in index)])


def over_copies(at: tuple[int, ...], shape: tuple[int, ...], out: tuple[int, ...], n: int) -> Any:
    """Places (m·n, axes + 1): every copy that broadcasting to `out` made of number `at` of `shape`, each with 0 … n − 1."""
    copies = copies_of(at, shape, out)
    return np.column_stack([np.repeat(copies, n, axis=0), np.tile(np.arange(n), len(copies))])
