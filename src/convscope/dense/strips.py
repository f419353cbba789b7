"""Convolution near a window's frame, where every window has a few positions of its own: positions become channels.

A strip of r input positions and C channels is a row of r·C numbers; what a kernel makes of them, at o output positions, is
one matrix of (r·C) × (o·O) numbers: the kernel, once for every output, in its place, and zeros where it does not reach. So
padding costs nothing, and thousands of tiny maps become one long product of matrices.

    T[(q, c), (i, k)] = w[k, c, t]      where q = i·stride − pad + t·dilation
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from convscope.dense.axes import Part, Tap
from convscope.dense.pieces import ROWS, Axes, Pair, Value

WASTE = 2.0  # multiplications by zero are worth it up to here: this many times the kernel's own


def reach(tap: Tap, part: Part, n: int) -> tuple[Part, Tensor]:
    """The input positions that a strip's outputs read, and (outputs, inputs, taps): which tap joins the two.

    >>> part, joins = reach(Tap(3, pad=1), Part(False, 0, 1), 8)
    >>> part, joins[0].tolist()
    (Part(dense=False, first=0, stop=2), [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    """
    first, stop = tap.read(part.first, part.stop)
    inside = Part(False, max(first, 0), min(stop, n))
    joins = torch.zeros(part.count, inside.count, tap.kernel)
    for i in range(part.count):
        for t in range(tap.kernel):
            q = (part.first + i) * tap.stride - tap.pad + t * tap.dilation
            if inside.first <= q < inside.stop:
                joins[i, q - inside.first, t] = 1
    return inside, joins


def worth(taps: tuple[Tap, Tap], pair: Pair, before: Axes) -> bool:
    """Are there few enough zeros in the matrix?"""
    waste = 1.0
    for tap, part, axis in zip(taps, pair, before, strict=True):
        if not part.dense:
            inside, joins = reach(tap, part, axis.n)
            waste *= part.count * inside.count / max(float(joins.sum()), 1.0)
    return waste <= WASTE


def corner(value: Value, weights: tuple[Tensor, Tensor | None], taps: tuple[Tap, Tap], pair: Pair) -> Tensor:
    """(P, Q, o, p, O): both axes kept window by window."""
    weight, bias = weights
    rows, down = reach(taps[0], pair[0], value.axes[0].n)
    columns, across = reach(taps[1], pair[1], value.axes[1].n)
    matrix = torch.einsum("iqt,jru,kctu->qrcijk", down.to(weight), across.to(weight), weight)
    x = value.gather(rows, columns).flatten(ROWS)
    flat = x.reshape(-1, x.shape[-1])
    matrix = matrix.reshape(x.shape[-1], -1)
    if bias is None:
        made = flat @ matrix
    else:
        made = torch.addmm(bias.repeat(pair[0].count * pair[1].count), flat, matrix)
    return made.reshape(*x.shape[:2], pair[0].count, pair[1].count, len(weight))


def edge(value: Value, weights: tuple[Tensor, Tensor | None], taps: tuple[Tap, Tap], out: tuple[Axes, Pair]) -> Tensor:
    """(P, 1, o, S, O) or (1, Q, R, p, O): one axis kept window by window, the other shared."""
    weight, bias = weights
    axes, pair = out
    own = 0 if not pair[0].dense else 1
    other = 1 - own
    inside, joins = reach(taps[own], pair[own], value.axes[own].n)
    way = "iqt,kctu->ikqcu" if own == 0 else "iqu,kctu->ikqct"
    matrix = torch.einsum(way, joins.to(weight), weight)
    kernel = matrix.flatten(2, 3).flatten(0, 1)[:, :, None]  # (o·O, r·C, 1, k)
    tap, before, after, grid = taps[other], value.axes[other], axes[other], value.grids[other]
    shared = Part(True, *tap.read(pair[other].first, pair[other].stop))
    x = value.gather(*((inside, shared) if own == 0 else (shared, inside)))
    # (windows, 1, shared, own positions, channels): the positions next to the channels, as one longer row of these
    x = (x[:, 0].movedim(1, 2) if own == 0 else x[0]).flatten(2, 3)[:, None]
    stride, dilation = grid.step(after) // grid.step(before), tap.dilation * grid.spread(before)
    whole = None if bias is None else bias.repeat(pair[own].count)
    made = F.conv2d(x.permute(0, 3, 1, 2), kernel, whole, (1, stride), 0, (1, dilation))
    made = made[..., : grid.length(after, pair[other].count)].permute(0, 2, 3, 1)[:, 0]  # (windows, shared, o·O)
    made = made.unflatten(2, (pair[own].count, len(weight)))
    return made.movedim(2, 1).unsqueeze(1) if own == 0 else made.unsqueeze(0)
