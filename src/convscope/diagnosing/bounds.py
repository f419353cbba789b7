"""What is the loss of the best answer that is the same for all, and of the best answers of all?

By formula where there is one (variance, entropy of the classes), else by descent: then an upper bound.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from convscope.diagnosing.families import hot, last, like, quiet
from convscope.diagnosing.program import Program
from convscope.diagnosing.targets import Targets


def prior(family: str, o: Tensor, t: Tensor | None) -> float | None:
    """The loss of the best constant answer, where there is a formula: variance, or the entropy of the classes."""
    if t is None:
        return None
    if family == "mse":
        return float(like(o, t).reshape(len(o), -1).double().var(0, unbiased=False).mean())
    if family in ("bce", "bce logits"):
        p = like(o, t).reshape(len(o), -1).double().mean(0)
        return float(-(torch.xlogy(p, p) + torch.xlogy(1 - p, 1 - p)).mean())
    if family in ("cross-entropy", "nll", "probability cross-entropy", "clipped cross-entropy", "normalised cross-entropy"):
        coded = (last if family in ("clipped cross-entropy", "normalised cross-entropy") else hot)(o, t).double()
        p = coded.mean(0)
        if p.ndim > 1:  # a class for each position
            axis = -1 if family in ("clipped cross-entropy", "normalised cross-entropy") else 0
            return float(-torch.xlogy(p, p).sum(axis).mean())
        return float(-torch.xlogy(p, p).sum())
    return None


def best_constant(program: Program, o: Tensor, t: Tensor | None, steps: int = 60) -> float:
    """The loss of the best answer that is the same for all, or a bound above it: descent on one row, from several begins."""
    begins = [o.mean(0, keepdim=True)]
    if t is not None and t.is_floating_point() and t.numel() == o.numel():
        begins.append(t.to(o.dtype).reshape(o.shape).mean(0, keepdim=True))
    if (
        t is not None
        and o.ndim > 1
        and o.shape[1] > 1
        and t.numel() == o.numel() // o.shape[1]
        and not t.is_floating_point()
    ):
        prior = hot(o, t).mean(0, keepdim=True)
        begins += [prior, prior.clamp(min=1e-3).log()]
    found = [_descend(program, begin, lambda row: row.expand(o.shape), t, steps) for begin in begins]
    return min((f for f in found if math.isfinite(f)), default=math.nan)


def best_free(program: Program, o: Tensor, t: Tensor | None, family: str, targets: Targets, steps: int = 60) -> float:
    """The loss of the best answers of all: 0 where the family says so, else by descent on free outputs (an upper bound)."""
    if family and family not in ("cross-entropy smoothed", "poisson", "kl") and targets.kind != "shares":
        return 0.0
    return _descend(program, o, lambda free: free, t, steps)


def _descend(program: Program, begin: Tensor, of: Callable[[Tensor], Tensor], t: Tensor | None, steps: int) -> float:
    free = begin.clone().requires_grad_()
    rate = 0.3 * max(float(begin.std(unbiased=False)), 0.1)
    optimizer = torch.optim.Adam([free], lr=rate)
    best = math.inf
    with torch.enable_grad():
        for _ in range(steps):
            value = quiet(program, of(free), t)
            if not bool(torch.isfinite(value)) or not value.requires_grad:
                break
            best = min(best, float(value.detach()))
            try:
                (free.grad,) = torch.autograd.grad(value, free, allow_unused=True)
            except RuntimeError:  # a loss of mixed precision may refuse to go back
                break
            if free.grad is None:
                break
            optimizer.step()
    return best if math.isfinite(best) else math.nan
