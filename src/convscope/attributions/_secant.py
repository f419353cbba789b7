"""Exact differences: slopes of chords instead of tangents, and values whose derivative is said instead of worked out.

    f(x) − f(x') = m ⊙ (x − x')        m = (f(x) − f(x')) / (x − x'), or f'(x) where x and x' are the same

Relevance (x' = 0) and DeepLIFT (x' = a baseline) both carry such an m backwards through plain autograd. A `Pair` is a value
with its value on the baseline; what is built of pairs by the functions below differs by exactly its multipliers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor


class _Said(torch.autograd.Function):
    """A value of its own, whose derivative to part k is slope k."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, count: int, *slopes_and_parts: Any) -> Tensor:
        ctx.save_for_backward(*slopes_and_parts[:count])
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *incoming: Tensor) -> Any:
        slopes = ctx.saved_tensors
        return (None, None, *([None] * len(slopes)), *(incoming[0] * slope for slope in slopes))


def said(value: Tensor, *parts: tuple[Tensor, Tensor]) -> Tensor:
    """`value`, with derivative `slope` to each `(part, slope)`; all of one shape."""
    slopes = [slope.detach().expand_as(value) for _, slope in parts]
    return _Said.apply(value.detach(), len(parts), *slopes, *(part for part, _ in parts))  # type: ignore[no-any-return]


def ratio(above: Tensor, below: Tensor) -> Tensor:
    """above / below, and 0 where below is 0."""
    return torch.where(below == 0, 0, above / torch.where(below == 0, 1, below))


class Pair(NamedTuple):
    """A value and what it is on the baseline; the first carries the graph of multipliers."""

    x: Tensor
    base: Tensor

    @property
    def change(self) -> Tensor:
        return (self.x - self.base).detach()


def elementwise(f: Callable[[Tensor], Tensor], u: Pair, smooth: bool = False) -> Pair:
    """f of each element, by its chord. `smooth`: f has no kinks, and bends on the scale of 1 (tanh, GELU, …)."""
    y, base = f(u.x.detach()), f(u.base)
    x, start = (t.double() if smooth else t for t in (u.x.detach(), u.base))
    rise, change, eps = (f(x) - f(start) if smooth else y - base), x - start, torch.finfo(x.dtype).eps
    # Where x and x' are close, the chord is a difference of two roundings. The tangent in the middle is better by far: its
    # error is f‴·(x − x')²/24. A kink between the two would spoil that: there only what rounding cannot tell apart counts.
    near = change.abs() <= (eps ** (1 / 3) / 5 if smooth else 4 * eps * (x.abs() + start.abs()))
    slope = torch.where(near, tangent(f, (x + start) / 2 if smooth else x), rise / torch.where(near, 1, change))
    return Pair(said(y, (u.x, slope.to(y.dtype))), base)


def tangent(f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """f'(x), element by element."""
    with torch.enable_grad():
        own = x.detach().clone().requires_grad_()
        return torch.autograd.grad(f(own).sum(), own)[0].detach()


def product(times: Callable[[Tensor, Tensor], Tensor], u: Pair, v: Pair) -> Pair:
    """Any bilinear operation: Δ(uv) = ½(u + u')Δv + ½(v + v')Δu."""
    middle_u, middle_v = (u.x.detach() + u.base) / 2, (v.x.detach() + v.base) / 2
    value = times(u.x.detach(), v.x.detach())
    one = torch.ones((), dtype=value.dtype, device=value.device)
    return Pair(said(value, (times(u.x, middle_v), one), (times(middle_u, v.x), one)), times(u.base, v.base))


def quotient(u: Pair, v: Pair) -> Pair:
    """u / v = u · (1/v)."""
    return product(torch.mul, u, elementwise(torch.reciprocal, v))


def both(linear: Callable[..., Tensor], *pairs: Pair) -> Pair:
    """A linear (or affine) operation on pairs."""
    return Pair(linear(*(p.x for p in pairs)), linear(*(p.base for p in pairs)))


def standardised(u: Pair, eps: float) -> Pair:
    """(u − mean) / √(variance + eps) over the last axis: what layer, group and instance norm share."""
    centred = both(lambda t: t - t.mean(-1, keepdim=True), u)
    variance = both(lambda t: t.mean(-1, keepdim=True), product(torch.mul, centred, centred))
    return product(torch.mul, centred, elementwise(lambda t: torch.rsqrt(t + eps), variance))


def softmax(u: Pair, dim: int) -> Pair:
    """exp(u) / Σ exp(u); the same constant is taken off both for safety's sake."""
    top = torch.maximum(u.x.detach(), u.base).amax(dim, keepdim=True)
    powers = elementwise(torch.exp, both(lambda t: t - top, u))
    return quotient(powers, both(lambda t: t.sum(dim, keepdim=True), powers))


def log_softmax(u: Pair, dim: int) -> Pair:
    """u − log Σ exp(u)."""
    top = torch.maximum(u.x.detach(), u.base).amax(dim, keepdim=True)
    moved = both(lambda t: t - top, u)
    total = both(lambda t: t.sum(dim, keepdim=True), elementwise(torch.exp, moved))
    return both(lambda t, s: t - s, moved, elementwise(torch.log, total))


def attention(q: Pair, k: Pair, v: Pair, mask: Tensor | None, scale: float | None) -> Pair:
    """softmax(q kᵀ · scale + mask) v."""
    scale = 1 / math.sqrt(q.x.shape[-1]) if scale is None else scale
    dots = product(lambda a, b: a @ b.transpose(-1, -2) * scale, q, k)
    return product(torch.matmul, softmax(both(lambda t: t if mask is None else t + mask, dots), -1), v)
