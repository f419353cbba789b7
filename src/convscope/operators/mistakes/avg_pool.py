"""Mistakes in average pooling, over windows or whole maps.

y[i] = 1/n · Σ over the window; every pixel of the window gets δ[i]/n
"""

from __future__ import annotations

from typing import Any

import numpy as np

from convscope.operators.adaptive_pool import AdaptiveAvgPool
from convscope.operators.avg_pool import AvgPool
from convscope.operators.global_pool import GlobalPool
from convscope.operators.mistakes._mistake import backward, forward

MEANS = (AvgPool, AdaptiveAvgPool, GlobalPool)
SHARE = "every pixel of the window gets δ / (number of pixels in the window)"


def _counts(op: Any, delta: Any, x: Any) -> Any:
    """How many pixels each window has, as large as δ or one number."""
    if isinstance(op, GlobalPool) and op.kind != "mean":
        return 1.0
    ones = op.backward(np.ones_like(delta), x)[0]
    per_pixel = ones[ones > 0].min()
    if isinstance(op, AvgPool):
        return op._divisors(x.shape).astype(delta.dtype)
    return float(round(1 / per_pixel)) if per_pixel > 0 else 1.0


@backward(MEANS, "δ was not divided by the number of pixels", SHARE)
def not_divided(op: Any, delta: Any, x: Any) -> Any:
    return op.backward(delta * _counts(op, delta, x), x)


@backward(MEANS, "δ was divided by the number of pixels twice", SHARE)
def divided_twice(op: Any, delta: Any, x: Any) -> Any:
    return op.backward(delta / _counts(op, delta, x), x)


@backward(MEANS, "δ was divided by the side of the window, not by its area", SHARE)
def divided_by_the_side_only(op: Any, delta: Any, x: Any) -> Any:
    return op.backward(delta * np.sqrt(_counts(op, delta, x)), x)


def _corner(which: int) -> Any:
    def make(op: Any, delta: Any, x: Any) -> Any:
        full = np.zeros_like(x)
        for i in np.ndindex(*delta.shape[2:]):
            alone = np.zeros_like(delta)
            here = (slice(None), slice(None), *i)
            alone[here] = delta[here]
            window = op.backward(alone, x)[0]
            places = np.argwhere((np.abs(window).sum(axis=(0, 1))) > 0)
            if len(places):
                full[(slice(None), slice(None), *places[which])] += delta[here]
        return (full,)

    return make


backward(AvgPool, "all of δ went to the first pixel of each window", SHARE, key="delta to the first position")(_corner(0))
backward(AvgPool, "all of δ went to the last pixel of each window", SHARE, key="delta to the last position")(_corner(-1))


@backward(AvgPool, "δ went to the largest pixel, as in max pooling", SHARE)
def delta_to_the_maximum(op: Any, delta: Any, x: Any) -> Any:
    """All of δ at the largest pixel of each window."""
    full = np.zeros_like(x)
    for i in np.ndindex(*delta.shape):
        alone = np.zeros_like(delta)
        alone[i] = 1
        window = op.backward(alone[i[0] : i[0] + 1, i[1] : i[1] + 1], x[i[0] : i[0] + 1, i[1] : i[1] + 1])[0][0, 0] > 0
        places = np.argwhere(window)
        if len(places):
            best = places[x[i[0], i[1]][window].argmax()]
            full[(i[0], i[1], *best)] += delta[i]
    return (full,)


@backward(AvgPool, "overlapping windows overwrote each other", "add: grad[window] += δ/n, not grad[window] = δ/n")
def overlapping_windows_overwritten(op: Any, delta: Any, x: Any) -> Any:
    """Each window's shares replace what the one before left."""
    full = np.zeros_like(x)
    for i in np.ndindex(*delta.shape[2:]):
        alone = np.zeros_like(delta)
        here = (slice(None), slice(None), *i)
        alone[here] = delta[here]
        reached = op.backward(np.ones_like(delta) * (alone != 0), x)[0] != 0
        full = np.where(reached, op.backward(alone, x)[0], full)
    return (full,)


@forward(MEANS, "the sum was taken instead of the mean", "divide by the number of pixels in the window")
def sum_was_used(op: Any, x: Any) -> Any:
    y = op.forward(x)
    return y * _counts(op, np.ones_like(y), x)


@forward(AvgPool, "the largest pixel was taken", "take the mean")
def max_pooling_was_used(op: Any, x: Any) -> Any:
    from convscope.operators.max_pool import MaxPool

    return MaxPool(op.kernel_size, op.stride, op.padding, 1, op.ceil_mode).forward(x)


@forward(AvgPool, "padding was counted the other way round", "mind count_include_pad")
def padding_counted_the_other_way(op: Any, x: Any) -> Any:
    from dataclasses import replace

    return replace(op, count_include_pad=not op.count_include_pad).forward(x)
