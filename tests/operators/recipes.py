"""Follow the printed sentences of a convolution's backward pass literally: every size is taken from the text.

    ∂L/∂x        zeros between the deltas, full correlation with flipped kernels and in/out channels swapped, rows that no
                 window read added as zeros, the padding cropped
    ∂L/∂weight   the padded input without the rows that no window read, correlated (valid) with the deltas and their zeros,
                 image by image summed; of the result every dilation-th
"""

from __future__ import annotations

import ast
import re

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

AXES = r"(?:^|; )(?:positions|planes|rows|columns): "


def parts(sizes: str, rank: int) -> list[dict[str, tuple[str, int]]]:
    """Per axis: label -> (formula, what it comes to). Each formula is computed and must come to what is printed."""
    texts = [t for t in re.split(AXES, sizes) if t] if re.match(AXES, sizes) else [sizes] * rank
    assert len(texts) == rank, sizes
    found = []
    for text in texts:
        labelled = {}
        for step in text.split("; "):
            label, formula = step.split(": ", 1)
            left, right = formula.rsplit(" = ", 1)
            if not left.startswith("every"):
                assert arithmetic(left) == int(right), step
            labelled[label.split()[-1]] = left, int(right)
        found.append(labelled)
    return found


def arithmetic(text: str) -> int:
    """'(55 − 1)·4 + 1' -> 217."""
    def value(node: ast.expr) -> int:
        if isinstance(node, ast.BinOp):
            a, b = value(node.left), value(node.right)
            return a * b if isinstance(node.op, ast.Mult) else a + b if isinstance(node.op, ast.Add) else a - b
        assert isinstance(node, ast.Constant)
        return int(node.value)

    return value(ast.parse(text.replace("·", "*").replace("−", "-"), mode="eval").body)


def spread(a: np.ndarray, axis: int, size: int) -> np.ndarray:
    """Zeros put between the numbers along an axis, evenly, up to `size`."""
    n = a.shape[axis]
    if n == size:
        return a
    wide = np.zeros((*a.shape[:axis], size, *a.shape[axis + 1:]))
    wide[(slice(None),) * axis + (slice(None, None, (size - 1) // (n - 1)),)] = a
    return wide


def padded(a: np.ndarray, axis: int, before: int, after: int) -> np.ndarray:
    return np.pad(a, [(before, after) if i == axis else (0, 0) for i in range(a.ndim)])


def correlate(a: np.ndarray, w: np.ndarray) -> np.ndarray:
    """(B, C, …) with (K, C, …), valid: (B, K, …)."""
    rank = a.ndim - 2
    windows = sliding_window_view(a, w.shape[2:], axis=tuple(range(2, a.ndim)))
    summed = np.tensordot(windows, w, axes=([1, *range(2 + rank, 2 + 2 * rank)], [1, *range(2, 2 + rank)]))
    return np.moveaxis(summed, -1, 1)


def input_gradient(sizes: str, delta: np.ndarray, weight: np.ndarray, groups: int) -> np.ndarray:
    rank = delta.ndim - 2
    axes = parts(sizes, rank)
    filters = weight.reshape(groups, -1, *weight.shape[1:])
    for axis, said in enumerate(axes, start=2):
        delta = spread(delta, axis, said["δ"][1]) if "δ" in said else delta
        if "kernel" in said:
            filters = spread(filters, axis + 1, said["kernel"][1])
        delta = padded(delta, axis, filters.shape[axis + 1] - 1, filters.shape[axis + 1] - 1)
    flipped = np.flip(filters, axis=tuple(range(3, 3 + rank))).swapaxes(1, 2)  # per group: in, out
    grad = np.concatenate([correlate(d, w) for d, w in zip(np.split(delta, groups, axis=1), flipped, strict=True)], axis=1)
    for axis, said in enumerate(axes, start=2):
        assert grad.shape[axis] == said["full"][1], said
        if "unread" in said:
            grad = padded(grad, axis, 0, said["unread"][1] - grad.shape[axis])
        if "crop" in said:
            size, before, after = map(int, said["crop"][0].split(" − "))
            assert size == grad.shape[axis]
            grad = grad.take(range(before, size - after), axis=axis)
    return grad


def weight_gradient(sizes: str, delta: np.ndarray, x: np.ndarray, groups: int, padded_name: str = "x") -> np.ndarray:
    """`padded_name`: what the text calls the array that is padded; of a transposed convolution it is δ, and x is spread."""
    axes = parts(sizes, x.ndim - 2)
    spread_name = "δ" if padded_name == "x" else "x"
    for axis, said in enumerate(axes, start=2):
        if padded_name in said:
            _, *sides = said[padded_name][0].split(" + ")
            before, after = map(int, sides if len(sides) == 2 else [sides[0].removeprefix("2·")] * 2)
            x = padded(x, axis, before, after)
        rest = said.get("unread", said.get("to"))  # 'not written to'
        x = x if rest is None else x.take(range(rest[1]), axis=axis)
        delta = spread(delta, axis, said[spread_name][1]) if spread_name in said else delta
    pairs = zip(np.split(x, groups, axis=1), np.split(delta, groups, axis=1), strict=True)
    # Images stand where channels stood, so that the correlation sums over them: (C, B, …) with (K, B, …).
    grad = np.concatenate([correlate(a.swapaxes(0, 1), d.swapaxes(0, 1)).swapaxes(0, 1) for a, d in pairs])
    for axis, said in enumerate(axes, start=2):
        assert grad.shape[axis] == said["valid"][1], said
        every = next((label for label in said if label.isdigit()), "1")  # 'dilation 2'
        grad = grad.take(range(0, grad.shape[axis], int(every)), axis=axis)
    return grad
