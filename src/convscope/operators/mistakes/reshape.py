"""Mistakes where a map becomes a row of numbers, and back: the order in which the numbers are read.

flatten: channel by channel, row by row (C order): index = (c·H + h)·W + w
"""

from __future__ import annotations

from typing import Any

import numpy as np

from convscope.operators.mistakes._mistake import backward, forward
from convscope.operators.reshape import Flatten, Reshape, Unflatten

ROWS = (Reshape, Flatten, Unflatten)
ORDER = "read the map channel by channel, row by row, both ways: x.reshape(B, -1) of (B, C, H, W)"


def _orders(rank: int) -> dict[str, tuple[int, ...]]:
    """Wrong orders of the axes of one example, batch first, by name."""
    if rank == 4:
        return {
            "HWC instead of CHW": (0, 2, 3, 1),
            "rows and columns swapped": (0, 1, 3, 2),
            "column by column, last axis first": (0, 3, 2, 1),
        }
    return {"channels last": (0, 2, 1)} if rank == 3 else {}


def _flattens(op: Any, x: Any) -> bool:
    return len(op.output_shape(x.shape)) == 2 and x.ndim in (3, 4)


def _back(name: str) -> Any:
    def make(op: Any, delta: Any, x: Any) -> Any:
        order = _orders(x.ndim).get(name)
        if order is None or not _flattens(op, x):
            return None
        return (delta.reshape([x.shape[a] for a in order]).transpose(np.argsort(order)).copy(),)

    return make


def _there(name: str) -> Any:
    def make(op: Any, x: Any) -> Any:
        order = _orders(x.ndim).get(name)
        return x.transpose(order).reshape(op.output_shape(x.shape)).copy() if order and _flattens(op, x) else None

    return make


for _name in ("HWC instead of CHW", "rows and columns swapped", "column by column, last axis first", "channels last"):
    backward(
        ROWS,
        f"δ was put back in another order than the map was flattened in: {_name}",
        ORDER,
        key=f"flatten mixed up: {_name}",
    )(_back(_name))
    forward(ROWS, f"the map was flattened in another order: {_name}", ORDER, key=f"flatten mixed up: {_name}")(_there(_name))


@backward(ROWS, "batch and features were mixed: the array was reshaped with the batch last", "keep the batch in front")
def flatten_mixed_up_batch_last(op: Any, delta: Any, x: Any) -> Any:
    return (
        (delta.T.reshape(*x.shape[1:], x.shape[0]).transpose(-1, *range(x.ndim - 1)),)
        if delta.ndim == 2 and len(x) > 1
        else None
    )


@backward(ROWS, "δ was reshaped as if the batch were the fastest axis", "keep the batch in front: δ.reshape(x.shape)")
def flatten_mixed_up_batch_reshaped(op: Any, delta: Any, x: Any) -> Any:
    return (delta.T.reshape(x.shape),) if delta.ndim == 2 and len(x) > 1 else None


@forward(ROWS, "numbers of different examples were mixed", "keep the batch in front: x.reshape(B, -1)")
def examples_mixed(op: Any, x: Any) -> Any:
    y = op.output_shape(x.shape)
    return x.reshape(y[::-1]).T.copy() if len(y) == 2 and len(x) > 1 else None
