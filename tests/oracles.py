"""Slow twins: the same mathematics as in src, written from the definitions with nothing but loops. For tests only."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np


def convolution(x: Any, weight: Any, bias: Any, stride: int, padding: int, dilation: int, groups: int) -> tuple[Any, int]:
    """y of a 2-D convolution and its multiply-accumulates, products with padding included (Dumoulin and Visin 2016)."""
    (b, _, height, width), (k, c, kh, kw) = x.shape, weight.shape
    h = (height + 2 * padding - dilation * (kh - 1) - 1) // stride + 1
    w = (width + 2 * padding - dilation * (kw - 1) - 1) // stride + 1
    y, count = np.zeros((b, k, h, w)), 0
    for image, out, i, j in product(range(b), range(k), range(h), range(w)):
        first = out // (k // groups) * c  # first input channel of this output's group
        total = bias[out]
        for channel, s, t in product(range(c), range(kh), range(kw)):
            row, column = i * stride - padding + s * dilation, j * stride - padding + t * dilation
            inside = 0 <= row < height and 0 <= column < width
            total += weight[out, channel, s, t] * (x[image, first + channel, row, column] if inside else 0.0)
            count += 1
        y[image, out, i, j] = total
    return y, count


def transposed_convolution(x: Any, weight: Any, stride: int, padding: int, output_padding: int) -> tuple[Any, int]:
    """y of a 2-D transposed convolution without groups, and its multiply-accumulates (Zeiler et al. 2010)."""
    (b, c, h, w), (_, k, kh, kw) = x.shape, weight.shape
    height = (h - 1) * stride - 2 * padding + kh + output_padding
    width = (w - 1) * stride - 2 * padding + kw + output_padding
    y, count = np.zeros((b, k, height, width)), 0
    for image, channel, i, j, out, s, t in product(range(b), range(c), range(h), range(w), range(k), range(kh), range(kw)):
        row, column = i * stride - padding + s, j * stride - padding + t
        count += 1
        if 0 <= row < height and 0 <= column < width:
            y[image, out, row, column] += x[image, channel, i, j] * weight[channel, out, s, t]
    return y, count


def matrix_product(x: Any, other: Any) -> tuple[Any, int]:
    """y of two matrices and its multiply-accumulates."""
    y, count = np.zeros((x.shape[0], other.shape[1])), 0
    for i, j, c in product(range(x.shape[0]), range(other.shape[1]), range(x.shape[1])):
        y[i, j] += x[i, c] * other[c, j]
        count += 1
    return y, count


def max_pooling(x: Any, kernel: int, stride: int, padding: int) -> tuple[Any, Any]:
    """y of a 2-D max pooling and the winners, as flat positions within a map; of equals the first in row order."""
    b, c, height, width = x.shape
    h, w = (height + 2 * padding - kernel) // stride + 1, (width + 2 * padding - kernel) // stride + 1
    y, winners = np.full((b, c, h, w), -np.inf), np.full((b, c, h, w), -1)
    for image, channel, i, j, s, t in product(range(b), range(c), range(h), range(w), range(kernel), range(kernel)):
        row, column = i * stride - padding + s, j * stride - padding + t
        if not (0 <= row < height and 0 <= column < width):
            continue
        value = x[image, channel, row, column]
        if winners[image, channel, i, j] < 0 or value > y[image, channel, i, j]:
            y[image, channel, i, j], winners[image, channel, i, j] = value, row * width + column
    return y, winners


# ---- attributions ----------------------------------------------------------------------------------------------------


def occlusion(score: Any, image: Any, window: int, stride: int, fill: Any) -> Any:
    """(H, W) mean drop of `score(image)` over the windows that cover a pixel, one pass a window (Zeiler and Fergus 2014)."""
    _, height, width = image.shape
    total, covers = np.zeros((height, width)), np.zeros((height, width))
    y = 0
    while True:
        x = 0
        while True:
            changed = image.copy()
            rows, columns = range(y, min(y + window, height)), range(x, min(x + window, width))
            for i, j in product(rows, columns):
                changed[:, i, j] = fill
            drop = score(image) - score(changed)
            for i, j in product(rows, columns):
                total[i, j] += drop
                covers[i, j] += 1
            if x + window >= width:
                break
            x += stride
        if y + window >= height:
            break
        y += stride
    return total / covers


# ---- responses -------------------------------------------------------------------------------------------------------


def neighbours(vectors: Any, image: int, k: int, metric: str) -> list[tuple[float, int]]:
    """The k nearest others as (distance, number), by comparing all pairs one by one; ties to the smaller number."""
    found = []
    for other in range(len(vectors)):
        a, b = [float(v) for v in vectors[image]], [float(v) for v in vectors[other]]
        if other == image or any(v != v for v in b):
            continue
        if metric == "euclidean":
            distance = sum((p - q) ** 2 for p, q in zip(a, b, strict=True)) ** 0.5
        else:
            lengths = sum(p * p for p in a) ** 0.5 * sum(q * q for q in b) ** 0.5
            distance = 1 - sum(p * q for p, q in zip(a, b, strict=True)) / lengths
        found.append((distance, other))
    return sorted(found)[:k]


def principal_axes(vectors: Any, k: int, steps: int = 2000) -> tuple[Any, Any]:
    """The first k components (k, U) and their shares of the variance, by power iteration with deflation (Hotelling 1933)."""
    centred = vectors - vectors.mean(0)
    covariance = centred.T @ centred
    total, axes, shares = np.trace(covariance), [], []
    for _ in range(k):
        axis = np.ones(len(covariance)) / len(covariance) ** 0.5
        for _ in range(steps):
            axis = covariance @ axis
            axis /= (axis**2).sum() ** 0.5
        value = axis @ covariance @ axis
        axes.append(axis)
        shares.append(value / total)
        covariance = covariance - value * np.outer(axis, axis)
    return np.array(axes), np.array(shares)
