"""Mistakes in max pooling.

y[i] = max over the window; δ[i] goes to the pixel that won, the first in row order where several did
"""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from convscope.operators._windows import add_back, cropped, cut, padded
from convscope.operators.avg_pool import AvgPool
from convscope.operators.max_pool import MaxPool
from convscope.operators.mistakes._mistake import backward, forward

WINNER = "keep the argmax of each window in the forward pass; grad[winner] += δ, zero elsewhere"


def given_back(op: Any, x: Any, shares: Any, add: bool = True) -> Any:
    """Shares (B, C, h, w, kernel) of every window, put back to their pixels; added, or overwriting in row order."""
    windows, out = op.windows(x.shape), shares.shape[2:-1]
    before = tuple(w.padding for w in windows)
    sizes = tuple(
        max(n + p, (o - 1) * w.stride + w.dilation * (w.kernel - 1) + 1)
        for n, p, o, w in zip(x.shape[2:], before, out, windows, strict=True)
    )
    kernel, stride, dilation = (tuple(getattr(w, name) for w in windows) for name in ("kernel", "stride", "dilation"))
    if add:
        full = add_back(shares.reshape(*shares.shape[:-1], *kernel), sizes, stride, dilation)
    else:
        full = np.zeros((*x.shape[:2], *sizes))
        for i in np.ndindex(*out):
            here = tuple(
                slice(a * s, a * s + d * (k - 1) + 1, d) for a, s, d, k in zip(i, stride, dilation, kernel, strict=True)
            )
            full[(slice(None), slice(None), *here)] = shares[(slice(None), slice(None), *i)].reshape(*x.shape[:2], *kernel)
    return cropped(full, before, x.shape[2:])


def windows_of(op: MaxPool, x: Any, fill: float = -np.inf) -> Any:
    """All windows, each as one row: (B, C, h, w, kernel); padding holds `fill`."""
    windows, out = op.windows(x.shape), op.output_shape(x.shape)[2:]
    before = tuple(w.padding for w in windows)
    ends = ((o - 1) * w.stride + w.dilation * (w.kernel - 1) + 1 for o, w in zip(out, windows, strict=True))
    after = tuple(max(end - n - p, 0) for end, n, p in zip(ends, x.shape[2:], before, strict=True))
    kernel, stride, dilation = (tuple(getattr(w, name) for w in windows) for name in ("kernel", "stride", "dilation"))
    view = cut(padded(x, before, after, fill), kernel, stride, dilation)
    view = view[(..., *(slice(n) for n in out), *(slice(None),) * len(out))]
    return view.reshape(*view.shape[: 2 + len(out)], -1)


def _values(op: Any, x: Any) -> Any:
    return windows_of(op, x)


def _one_hot(values: Any, winner: Any) -> Any:
    return (np.arange(values.shape[-1]) == winner[..., None]) * 1.0


def _ties(op: Any, x: Any) -> Any:
    values = _values(op, x)
    return (values == values.max(axis=-1, keepdims=True)) * 1.0


@backward(MaxPool, "δ went to every position of the window", WINNER)
def delta_spread_to_all_positions(op: Any, delta: Any, x: Any) -> Any:
    return (given_back(op, x, np.broadcast_to(delta[..., None], (*delta.shape, _values(op, x).shape[-1]))),)


@backward(MaxPool, "δ was shared out over the window, as in average pooling", WINNER)
def delta_shared_out_as_in_average_pooling(op: Any, delta: Any, x: Any) -> Any:
    n = _values(op, x).shape[-1]
    return (given_back(op, x, np.broadcast_to(delta[..., None] / n, (*delta.shape, n))),)


@backward(MaxPool, "δ went to all of the tied maxima", WINNER + "; of equal pixels the first gets all")
def delta_to_all_tied_maxima(op: Any, delta: Any, x: Any) -> Any:
    return (given_back(op, x, delta[..., None] * _ties(op, x)),)


@backward(MaxPool, "δ was shared among the tied maxima", WINNER + "; of equal pixels the first gets all")
def delta_shared_among_tied_maxima(op: Any, delta: Any, x: Any) -> Any:
    ties = _ties(op, x)
    return (given_back(op, x, delta[..., None] * ties / ties.sum(axis=-1, keepdims=True)),)


@backward(MaxPool, "δ went to the last of the tied maxima", WINNER + "; of equal pixels the first gets all")
def delta_to_the_last_of_tied_maxima(op: Any, delta: Any, x: Any) -> Any:
    ties = _ties(op, x)
    last = ties.shape[-1] - 1 - ties[..., ::-1].argmax(axis=-1)
    return (given_back(op, x, delta[..., None] * _one_hot(ties, last)),)


def _corner(which: int) -> Any:
    def make(op: Any, delta: Any, x: Any) -> Any:
        values = _values(op, x)
        where = np.full(delta.shape, which % values.shape[-1])
        return (given_back(op, x, delta[..., None] * _one_hot(values, where)),)

    return make


backward(MaxPool, "δ went to the first pixel of each window", WINNER, key="delta to the first position")(_corner(0))
backward(MaxPool, "δ went to the last pixel of each window", WINNER, key="delta to the last position")(_corner(-1))


@backward(MaxPool, "δ went to the smallest pixel", WINNER)
def delta_to_the_minimum(op: Any, delta: Any, x: Any) -> Any:
    values = windows_of(op, x, np.inf)
    return (given_back(op, x, delta[..., None] * _one_hot(values, values.argmin(axis=-1))),)


@backward(MaxPool, "a pixel that won in several windows kept the last δ only", "add: grad[winner] += δ (np.add.at)")
def overlapping_windows_overwritten(op: Any, delta: Any, x: Any) -> Any:
    """Each winner gets δ by assignment, in row order."""
    _, winners = op.forward_with_indices(x)
    gx = np.zeros((prod(x.shape[:2]), prod(x.shape[2:])))
    rows = np.arange(len(gx))
    flat, taken = delta.reshape(len(gx), -1), winners.reshape(len(gx), -1)
    for i in range(flat.shape[1]):
        gx[rows, taken[:, i]] = flat[:, i]
    return (gx.reshape(x.shape),)


@backward(MaxPool, "overlapping windows overwrote each other, zeros too", "add: grad[window] += mask · δ")
def overlapping_windows_overwritten_with_zeros(op: Any, delta: Any, x: Any) -> Any:
    values = _values(op, x)
    winner = (values == values.max(axis=-1, keepdims=True)).argmax(axis=-1)
    return (given_back(op, x, delta[..., None] * _one_hot(values, winner), add=False),)


@backward(MaxPool, "δ was multiplied with the value that won", WINNER)
def delta_times_the_maximum(op: Any, delta: Any, x: Any) -> Any:
    return op.backward(delta * op.forward(x), x)


@forward(MaxPool, "the mean of each window was taken", "take the largest")
def average_pooling_was_used(op: Any, x: Any) -> Any:
    return AvgPool(op.kernel_size, op.stride, op.padding, op.ceil_mode).forward(x) if op.dilation in (1, (1, 1)) else None


@forward(MaxPool, "the smallest value of each window was taken", "take the largest")
def minimum_was_used(op: Any, x: Any) -> Any:
    return -op.forward(-x)


@forward(MaxPool, "the first pixel of each window was taken", "take the largest")
def first_pixel_was_used(op: Any, x: Any) -> Any:
    return windows_of(op, x, 0.0)[..., 0]


@forward(MaxPool, "padding took part with the value 0", "pad with −∞: padding never wins")
def padding_of_zero_won(op: Any, x: Any) -> Any:
    return windows_of(op, x, 0.0).max(axis=-1)


@forward(MaxPool, "the largest absolute value was taken", "take the largest value, signs kept")
def largest_absolute_value(op: Any, x: Any) -> Any:
    return op.forward(np.abs(x))


@forward(MaxPool, "the stride was taken to be 1", "move the window by `stride` pixels")
def stride_forgotten(op: Any, x: Any) -> Any:
    return replace(op, stride=1).forward(x)
