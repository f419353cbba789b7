"""The pass again with other values in the place of the last layer's; and how low a loss of the output comes there."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from convscope.diagnosing import losses
from convscope.diagnosing.calls import Rule, replacing
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.program import left_alone

SECONDS = 0.12  # for one descent


def replayed(evidence: Evidence, key: str, rules: dict[str, Rule], z: Tensor) -> Tensor:
    """The output when the call `key` gives `z`, in training mode; `rules` for what stands behind it."""
    fixed: dict[str, Rule] = {key: lambda func, args, kwargs: z}  # noqa: ARG005 - a rule is given the call
    with left_alone(), replacing({**evidence.twin.rules, **rules, **fixed}):
        torch.manual_seed(evidence.seed)
        evidence.twin.model.train()
        return evidence.twin.model(evidence.x)


def descend(evidence: Evidence, of: Callable[[Tensor], Tensor], begin: Tensor, steps: int) -> tuple[float, Tensor]:
    """(lowest loss of `of(values)`, the values) by Adam from `begin`; an upper bound of the optimum."""
    free = begin.clone().requires_grad_()
    optimizer = torch.optim.Adam([free], lr=0.3 * max(float(begin.std(unbiased=False)), 0.1))
    best, where, until = math.inf, begin, time.perf_counter() + SECONDS
    with left_alone(), torch.enable_grad():
        for _ in range(steps):
            value = losses.quiet(evidence.twin, of(free), evidence.y)
            if not bool(torch.isfinite(value)) or not value.requires_grad or time.perf_counter() > until:
                break
            if (now := float(value.detach())) < best:
                best, where = now, free.detach().clone()
            optimizer.zero_grad()
            (free.grad,) = torch.autograd.grad(value, free)
            optimizer.step()
    return best, where


def passed(evidence: Evidence, norm: str, again: Callable[..., Tensor], z: Tensor) -> float:
    """‖P g‖ / ‖g‖ over the batch (and positions), unit by unit."""
    seen: list[Tensor] = []

    def kept(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        seen.append(func(*args, **kwargs))
        return seen[-1]

    with left_alone(), torch.enable_grad():
        value = losses.quiet(evidence.twin, again({norm: kept}, z.clone().requires_grad_()), evidence.y)
        if not seen or not value.requires_grad:
            return math.nan
        (g,) = torch.autograd.grad(value, seen[-1], allow_unused=True)
    if g is None or float(g.norm()) == 0:
        return math.nan
    g, v = (t.detach().transpose(0, 1).flatten(1).double() for t in (g, seen[-1]))
    v = (v - v.mean(1, keepdim=True)) / v.std(1, unbiased=False, keepdim=True).clamp(min=1e-12)
    left = g - g.mean(1, keepdim=True) - v * (g * v).mean(1, keepdim=True)
    return float(left.norm() / g.norm())
