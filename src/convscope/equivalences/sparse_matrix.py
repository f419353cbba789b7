"""A convolution is one large matrix, nearly all zeros, in which the same few weights stand again and again.

    y = T · x,   T[(k, i), (c, p)] = weight[k, c, t]  where  p = i·stride − padding + t·dilation,  0 elsewhere
    ∂L/∂x = Tᵀ · δ

A dense layer of the same size would have a weight of its own at every entry, a locally connected one at every non-zero.

Sources: LeCun et al. 1989, "Backpropagation Applied to Handwritten Zip Code Recognition" (weight sharing); Dumoulin and
Visin 2016, "A guide to convolution arithmetic", section 4.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from scipy import sparse

from convscope.equivalences._proof import Row, asked, by, delta_of, table, wants
from convscope.fields import param, validate
from convscope.mechanics.capture import Capture
from convscope.operators._window_terms import window_of
from convscope.operators.conv import Conv
from convscope.results import Layer, Table


@dataclass(frozen=True)
class SparseMatrix:
    """Which matrix is this convolution, and what does sharing its weights save?

    T has K·h·w rows and C·H·W columns. For the first image, T·x + bias is held against torch's output (K, h, w), Tᵀ·δ
    against autograd's input gradient (C, H, W); float64. Counted: rows, columns, non-zeros, and learned numbers with
    sharing, without (each position its own), and of a dense layer. A matrix with more than `most` non-zeros is cut down to
    the first output positions of every filter, and this is said; the counts are then of the part, but for learned numbers.

    Misleads: nobody computes a convolution so. Errors: UsageError for a layer that is no convolution.
    Source: LeCun et al. 1989.

    >>> import convscope as cs, torch
    >>> net = cs.open("zoo:lenet5")
    >>> SparseMatrix()(Capture(net, torch.ones(1, 1, 28, 28)), net["conv1"]).title
    'conv1: convolution = sparse matrix 4704×784 with 107,736 non-zeros, made of 150 shared weights'
    """

    most: int = param(2_000_000, "Most non-zeros of the matrix that is built.", unit="numbers", low=1)

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
        positions = prod(y.shape[2:])
        part = min(positions, max(self.most // weight.size, 1))
        matrix = spread_out(conv, x.shape, weight, part)
        made = (matrix @ x[0].reshape(-1)).reshape(len(weight), part)
        if rest and rest[0] is not None:
            made = made + rest[0][:, None]
        delta, which = delta_of(kept, call)
        inside = np.zeros_like(delta)
        inside.reshape(*delta.shape[:2], -1)[0, :, :part] = delta.reshape(*delta.shape[:2], -1)[0, :, :part]
        _, gradients = kept.autograd(call, inside)
        back = (matrix.T @ inside[0].reshape(len(weight), -1)[:, :part].reshape(-1)).reshape(x.shape[1:])
        shapes = [None if a is None else a.shape for a in (x, weight, *rest)]
        shared, unshared = conv.parameters(*shapes), conv.parameters_without_sharing(*shapes)  # type: ignore[arg-type]
        dense = prod(y.shape[1:]) * (prod(x.shape[1:]) + bool(rest and rest[0] is not None))
        size, cells = f"{matrix.shape[0]}×{matrix.shape[1]}", matrix.shape[0] * matrix.shape[1]
        rows = (
            Row("output", f"{by(*y.shape[1:])} of image 0", f"({size}) · ({matrix.shape[1]})",
                (y[0].reshape(len(weight), -1)[:, :part], made)),
            Row("gradient of the input", f"autograd, with {which}", f"({size})ᵀ · ({matrix.shape[0]})",
                (gradients[0][0], back)),
            Row("non-zeros", f"{matrix.nnz:,} of {cells:,}", f"{matrix.nnz / cells:.3%}"),
            Row("learned numbers", f"shared: {shared:,}", f"each position its own: {unshared:,}; dense: {dense:,}"),
        )
        notes = [] if part == positions else [
            f"the whole matrix is {len(weight) * positions}×{matrix.shape[1]}; this is its part for the first "
            f"{part:,} of {positions:,} positions of each filter (`most` = {self.most:,} non-zeros)"]
        title = (f"{layer.address}: convolution = sparse matrix {size} with {matrix.nnz:,} non-zeros, made of "
                 f"{weight.size:,} shared weights")
        return table(self, kept, title, rows, notes)


def spread_out(conv: Conv, x: tuple[int, ...], weight: Any, part: int) -> Any:
    """T for the first `part` output positions of each filter: rows (k, i), columns (c, p)."""
    windows, out = conv.windows(x, weight.shape), conv.output_shape(x, weight.shape)[2:]
    (k, each, *_), sizes = weight.shape, np.array(x[2:])
    steps = np.array([prod(x[2 + a + 1:]) for a in range(len(sizes))])
    taps = prod(weight.shape[2:])
    rows, columns, values = [], [], []
    for n, i in zip(range(part), np.ndindex(*out), strict=False):
        places = window_of(i, windows)[1]
        inside = ((places >= 0) & (places < sizes)).all(axis=1)
        flat = (places * steps).sum(axis=1)
        for filter_ in range(k):
            first = filter_ // (k // conv.groups) * each
            at = (first + np.arange(each))[:, None] * prod(sizes) + flat
            columns.append(at[:, inside].reshape(-1))
            values.append(weight[filter_].reshape(each, taps)[:, inside].reshape(-1))
            rows.append(np.full(columns[-1].size, filter_ * part + n))
    where = (np.concatenate(rows), np.concatenate(columns))
    return sparse.csr_array((np.concatenate(values), where), shape=(k * part, prod(x[1:])))
