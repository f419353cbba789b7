"""An LSTM written out, so that relevance and multipliers find their way through its gates (Arras et al. 2017).

    i, f, o = σ(W x + U h + b)      g = tanh(W x + U h + b)      c ← f·c + i·g      h ← o·tanh(c)

Gates get no relevance: c and h are products whose other factor is the signal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from convscope.attributions import _secant as secant
from convscope.attributions._relevance import Call
from convscope.attributions._secant import Pair

Step = Callable[[Any, Any, Any, tuple[Tensor, ...]], tuple[Any, Any]]  # (x, h, c, weights) -> (h, c)
Map = Callable[..., Any]  # applies a linear function of tensors to values of the algebra


def unrolled(call: Call, x: Any, start: tuple[Any, Any], step: Step, linear: Map) -> tuple[Any, Any, Any]:
    """(output, h, c) as aten's lstm gives them, by `step`. `linear` lifts indexing and joining to pairs."""
    _, _, weights, biased, count, _, _, both_ways, batch_first = call.args
    per = 4 if biased else 2
    ways = 2 if both_ways else 1
    axis = 1 if batch_first else 0
    length = call.args[0].shape[axis]
    rows = [linear(lambda t, at=at: t.select(axis, at), x) for at in range(length)]
    last_h, last_c = [], []
    for layer in range(count):
        outputs: list[list[Any]] = []
        for way in range(ways):
            at = layer * ways + way
            own = weights[at * per : (at + 1) * per]
            h, c = (linear(lambda t, at=at: t[at], s) for s in start)
            made: list[Any] = []
            for row in reversed(rows) if way else rows:
                h, c = step(row, h, c, tuple(own))
                made.append(h)
            outputs.append(made[::-1] if way else made)
            last_h.append(h)
            last_c.append(c)
        rows = [linear(lambda *t: torch.cat(t, -1), *parts) for parts in zip(*outputs, strict=True)]

    def joined(parts: list[Any], axis: int) -> Any:
        return linear(lambda *t: torch.stack(t, axis), *parts)

    return joined(rows, axis), joined(last_h, 0), joined(last_c, 0)


def affine(x: Tensor, h: Tensor, weights: tuple[Tensor, ...]) -> Tensor:
    """W x + U h + b for all four gates: (B, 4·hidden)."""
    bias = weights[2] + weights[3] if len(weights) == 4 else None
    return torch.nn.functional.linear(x, weights[0], bias) + h @ weights[1].T


def lstm_relevance(call: Call) -> tuple[Tensor, Tensor, Tensor]:
    """Relevance: gates are constants, tanh hands on all that it gets; the linear maps follow LRP-0."""

    def step(x: Tensor, h: Tensor, c: Tensor, weights: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        pre = affine(x, h, weights)
        i, f, g, o = pre.chunk(4, 1)
        if len(weights) == 4:
            call.note("bias", g, (weights[2] + weights[3]).chunk(4)[2].expand_as(g))
        c = f.detach().sigmoid() * c + i.detach().sigmoid() * signal(g)
        return o.detach().sigmoid() * signal(c), c

    def signal(t: Tensor) -> Tensor:
        return secant.elementwise(torch.tanh, Pair(t, torch.zeros_like(t)), smooth=True).x

    x, (h, c) = call.args[:2]
    return unrolled(call, x, (h, c), step, lambda f, *t: f(*t))


def lstm_multipliers(call: Call, x: Pair, start: tuple[Pair, Pair]) -> tuple[Pair, Pair, Pair]:
    """DeepLIFT: every function and product by its exact difference."""

    def step(x: Pair, h: Pair, c: Pair, weights: tuple[Tensor, ...]) -> tuple[Pair, Pair]:
        pre = secant.both(lambda a, b: affine(a, b, weights), x, h)
        i, f, g, o = (secant.both(lambda t, at=at: t.chunk(4, 1)[at], pre) for at in range(4))
        i, f, o = (secant.elementwise(torch.sigmoid, gate, smooth=True) for gate in (i, f, o))
        c = secant.both(torch.add, secant.product(torch.mul, f, c), secant.product(torch.mul, i, tanh(g)))
        return secant.product(torch.mul, o, tanh(c)), c

    def tanh(u: Pair) -> Pair:
        return secant.elementwise(torch.tanh, u, smooth=True)

    return unrolled(call, x, start, step, secant.both)
