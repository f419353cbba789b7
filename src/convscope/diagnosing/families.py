"""The known losses of outputs o and targets t, as means: what a user's loss is compared with (`losses.py`)."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from convscope.diagnosing.program import Program

TINY = 1e-7  # Keras keeps probabilities this far from 0 and 1


def quiet(program: Program, o: Tensor, t: Tensor | None) -> Tensor:
    """The loss as a number (float64), NaN where it raises."""
    with warnings.catch_warnings(), contextlib.suppress(Exception):
        warnings.simplefilter("ignore")
        value = program.value(o, t)
        return (value if isinstance(value, Tensor) else torch.as_tensor(float(value))).double().reshape(-1).sum()
    return torch.tensor(math.nan, dtype=torch.float64)


def _index(t: Tensor, k: int) -> Tensor:
    return (
        t.reshape(len(t), -1).argmax(1)
        if t.ndim > 1 and t.shape[1] == k and t.is_floating_point()
        else t.long().reshape(len(t), *t.shape[2:] if t.ndim > 1 and t.shape[1] == 1 else t.shape[1:])
    )


def hot(o: Tensor, t: Tensor) -> Tensor:
    """One-hot targets over axis 1, in the outputs' shape."""
    if t.shape == o.shape:
        return t.to(o.dtype)
    dim = 1 if o.ndim > 1 else 0
    index = t.long()
    if index.ndim == o.ndim and index.shape[-1] == 1:
        index = index.squeeze(-1)
    hot = F.one_hot(index.clamp(0, o.shape[dim] - 1), o.shape[dim]).to(o.dtype)
    return hot.movedim(-1, 1) if hot.ndim == o.ndim and o.ndim > 2 else hot


def last(o: Tensor, t: Tensor) -> Tensor:
    """One-hot targets over the last axis, as Keras has them."""
    return (
        t.to(o.dtype)
        if t.shape == o.shape
        else F.one_hot(t.long().reshape(o.shape[:-1]).clamp(0, o.shape[-1] - 1), o.shape[-1]).to(o.dtype)
    )


def like(o: Tensor, t: Tensor) -> Tensor:
    """Targets in the outputs' shape and type."""
    return t.to(o.dtype).reshape(o.shape)


def _p(o: Tensor) -> Tensor:
    return o.clamp(TINY, 1 - TINY)


FAMILIES: dict[str, tuple[str, Callable[[Tensor, Tensor], Tensor]]] = {
    "cross-entropy": ("logits", lambda o, t: -(hot(o, t) * o.log_softmax(1)).sum(1).mean()),
    "cross-entropy (last axis)": ("logits", lambda o, t: -(last(o, t) * o.log_softmax(-1)).sum(-1).mean()),
    "nll": ("log-probabilities", lambda o, t: -(hot(o, t) * o).sum(1).mean()),
    "probability cross-entropy": ("probabilities", lambda o, t: -(hot(o, t) * o.log()).sum(1).mean()),
    "clipped cross-entropy": ("probabilities", lambda o, t: -(last(o, t) * _p(o).log()).sum(-1).mean()),
    "normalised cross-entropy":
        ("probabilities", lambda o, t: -(last(o, t) * _p(o / o.sum(-1, keepdim=True)).log()).sum(-1).mean()),
    "bce": ("probabilities", lambda o, t: F.binary_cross_entropy(_p(o), like(o, t))),
    "bce logits": ("logits", lambda o, t: F.binary_cross_entropy_with_logits(o, like(o, t))),
    "mse": ("values", lambda o, t: (o - like(o, t)).square().mean()),
    "mse one-hot": ("values", lambda o, t: (o - hot(o, t)).square().mean()),
    "mae": ("values", lambda o, t: (o - like(o, t)).abs().mean()),
    "huber": ("values", lambda o, t: F.smooth_l1_loss(o, like(o, t))),
    "rmse": ("values", lambda o, t: (o - like(o, t)).square().mean().sqrt()),
    "hinge": ("values", lambda o, t: F.multi_margin_loss(o, _index(t, o.shape[1]))),
    "binary hinge": ("values", lambda o, t: (1 - (2 * like(o, t) - 1) * o).clamp(min=0).mean()),
    "poisson": ("logits", lambda o, t: (o.exp() - like(o, t) * o).mean()),
    "kl": ("log-probabilities", lambda o, t: (like(o, t) * (like(o, t).clamp(min=1e-30).log() - o)).sum(1).mean()),
    "msle": ("values", lambda o, t: ((1 + o.clamp(min=0)).log() - (1 + like(o, t)).log()).square().mean()),
    "mape": ("values", lambda o, t: ((o - like(o, t)) / like(o, t).abs().clamp(min=1e-7)).abs().mean()),
    "mse of softmax": ("logits", lambda o, t: (o.softmax(1) - hot(o, t)).square().mean()),
    "cross-entropy smoothed":
        ("logits", lambda o, t: -((0.9 * hot(o, t) + 0.1 / o.shape[1]) * o.log_softmax(1)).sum(1).mean()),
}  # fmt: skip
