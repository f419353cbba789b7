"""A convolution is a matrix product, once every window has been written out as a column.

    Y (K, P) = W (K, C·kh·kw) · X (C·kh·kw, P)       X[:, i] = the numbers under window i,  P = B·h·w positions
    ∂L/∂W = δ · Xᵀ

In G groups there are G such products.

Source: Chellapilla, Puri, Simard 2006, "High Performance Convolutional Neural Networks for Document Processing".
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from convscope.equivalences._proof import Row, asked, by, delta_of, table, wants
from convscope.fields import validate
from convscope.mechanics.capture import Capture
from convscope.operators._window_terms import at_places, window_of
from convscope.operators.conv import Conv
from convscope.results import Layer, Table


@dataclass(frozen=True)
class Im2col:
    """Is this convolution one matrix product?

    For the layer's input x (B, C, H, W) and kernels (K, C/G, kh, kw) the windows are written out one by one, as columns of a
    matrix; the product with the kernels as rows is held against what torch's convolution gave (B, K, h, w), and δ times the
    transposed columns against autograd's gradient of the kernels. All in float64. `other_way` says the matrices' sizes.

    Misleads where speed is meant: the columns hold each number up to kh·kw times. Errors: UsageError for a layer that is no
    convolution. Source: Chellapilla, Puri, Simard 2006.

    >>> import convscope as cs, torch
    >>> net = cs.open("zoo:lenet5")
    >>> found = Im2col()(Capture(net, torch.ones(1, 1, 28, 28)), net["conv1"])
    >>> found.title
    'conv1: convolution = matrix product, (6×25) · (25×784)'
    """

    def __post_init__(self) -> None:
        validate(self)

    def applies(self, kept: Capture, layer: Layer) -> str:
        """'' or why this cannot be asked of the layer."""
        return wants(kept, layer, Conv, "a convolution")

    def __call__(self, kept: Capture, layer: Layer) -> Table:
        call = asked(self, kept, layer)
        x, weight, *rest = kept.arrays(call)
        conv, y = call.operator, kept.value(call.name)
        assert isinstance(conv, Conv)
        delta, which = delta_of(kept, call)
        _, gradients = kept.autograd(call, delta)
        k, each, *kernel = weight.shape
        groups, positions = conv.groups, prod(y.shape[2:])
        columns = written_out(conv, x, weight)  # (C, kernel, B·positions)
        made, learned = [], []
        for g in range(groups):
            filters, channels = slice(g * k // groups, (g + 1) * k // groups), slice(g * each, (g + 1) * each)
            tall = columns[channels].reshape(-1, columns.shape[2])
            made.append(weight[filters].reshape(k // groups, -1) @ tall)
            learned.append(delta.swapaxes(0, 1)[filters].reshape(k // groups, -1) @ tall.T)
        product = np.concatenate(made).reshape(k, len(x), *y.shape[2:]).swapaxes(0, 1)
        if rest and rest[0] is not None:
            product = product + rest[0].reshape(-1, *(1,) * len(kernel))
        wide = positions * len(x)
        one = f"({by(k // groups, prod(weight.shape[1:]))}) · ({by(prod(weight.shape[1:]), wide)})"
        times = f"{groups} products " if groups > 1 else ""
        back = f"{times}({by(k // groups, wide)}) · ({by(wide, prod(weight.shape[1:]))})"
        rows = (
            Row("output", f"{k} kernels of {by(*weight.shape[1:])} slid over {by(*x.shape[1:])}", times + one, (y, product)),
            Row("gradient of the kernels", f"autograd, with {which}", back,
                (gradients[1], np.concatenate(learned).reshape(weight.shape))),
            Row("numbers that are read", f"input: {x.size:,}", f"columns: {columns.size:,}"),
            Row("multiply-accumulates", f"{conv.macs(x.shape, weight.shape):,}", f"{k * prod(weight.shape[1:]) * wide:,}"),
        )
        return table(self, kept, f"{layer.address}: convolution = matrix product, {times}{one}", rows)


def written_out(conv: Conv, x: Any, weight: Any) -> Any:
    """(C, kh·kw, B·P): the numbers under each window, window by window."""
    windows, out = conv.windows(x.shape, weight.shape), conv.output_shape(x.shape, weight.shape)[2:]
    columns = np.zeros((x.shape[1], prod(weight.shape[2:]), len(x), prod(out)))
    for n, i in enumerate(np.ndindex(*out)):
        places = window_of(i, windows)[1]
        for b in range(len(x)):
            columns[:, :, b, n] = at_places(x[b], places)
    return columns.reshape(*columns.shape[:2], -1)
