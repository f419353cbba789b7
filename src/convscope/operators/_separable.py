"""Operations that are one small matrix along each spatial axis: y = A_h x A_wᵀ (adaptive averages, interpolation).

The backward pass is the same with every matrix transposed.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from math import prod
from typing import Any

import numpy as np

from convscope.operators._window_terms import with_channel
from convscope.operators._working import many, place, sum_lines, taken, terms
from convscope.results import Line, Terms


def apply(x: Any, matrices: Iterable[Any]) -> Any:
    """Multiply the spatial axes of (B, C, H, W) by one matrix (out, in) each.

    >>> apply(np.ones((1, 1, 2)), [np.array([[1.0, 0], [0.5, 0.5], [0, 1]])]).tolist()
    [[[1.0, 1.0, 1.0]]]
    """
    for axis, matrix in enumerate(matrices, start=2):
        x = np.moveaxis(np.moveaxis(x, axis, -1) @ matrix.T.astype(x.dtype), -1, axis)
    return np.ascontiguousarray(x)


def apply_transposed(delta: Any, matrices: Iterable[Any]) -> Any:
    """The backward pass of `apply`."""
    return apply(delta, [matrix.T for matrix in matrices])


def value_terms(at: tuple[int, ...], x: Any, matrices: Iterable[Any]) -> Terms:
    """What y[at] adds up: each pixel with the product of its factors, one an axis."""
    b, c, *i = at
    places, factors = _meeting([matrix[a] for matrix, a in zip(matrices, i, strict=True)])
    return terms((f"x[{b}]", with_channel(c, places), taken(x[b, c], places)), ("factor", places, factors))


def gradient_terms(at: tuple[int, ...], delta: Any, matrices: Iterable[Any]) -> tuple[tuple[Line, ...], Terms]:
    """What ∂L/∂x[at] adds up: δ of every output that read the pixel, times the factor with which it did."""
    b, c, *p = at
    places, factors = _meeting([matrix[:, a] for matrix, a in zip(matrices, p, strict=True)])
    made = terms((f"δ[{b}]", with_channel(c, places), taken(delta[b, c], places)), ("factor", places, factors))
    read = Line(f"{place('x', at)} is read by {many(len(places), 'output')}", float(len(places)))
    return (read, *sum_lines(made, f"∂L/∂{place('x', at)}")), made


def _meeting(factors: list[Any]) -> tuple[Any, Any]:
    """Places (n, axes) where no axis' factor is 0, and the product of the factors there."""
    places = list(product(*(np.flatnonzero(f).tolist() for f in factors)))
    return (np.array(places, np.int64).reshape(-1, len(factors)),
            np.array([prod(float(f[i]) for f, i in zip(factors, at, strict=True)) for at in places]))
