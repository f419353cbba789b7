"""A few values of a large tensor, evenly spaced, and what they say about all of it.

    t (B, U, …)  →  (u, m): u units, m values of each from the whole batch and all positions, u·m ≤ most

    mean = Σ x/n     std = √(Σ (x − mean)²/n)     zeros = share of x = 0     dead = share of units whose m values are all 0

The stride is fixed by the shape, so nothing random is drawn. Means and shares are those of the sample: a unit that is zero
at all m values looks dead though it may answer somewhere between them. Norms are scaled: ‖t‖ ≈ ‖sample‖·√(numel/n).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

Plan = tuple[tuple[int, ...], tuple[int, ...]]
UNITS = 64  # of one tensor
_plans: dict[tuple[tuple[int, ...], tuple[int, ...], int, int], Plan] = {}


def sample(tensor: Tensor, most: int, axis: int = 1) -> Tensor:
    """A copy of at most about `most` values as (u, m), one row a unit of `axis`; no axis: one row."""
    key = (tuple(tensor.shape), tensor.stride(), most, axis)
    plan = _plans.get(key)
    if plan is None:
        if len(_plans) > 4096:
            _plans.clear()  # sizes that change with every batch shall not fill the memory
        plan = _plans[key] = _plan(*key)
    return torch.as_strided(tensor.detach(), *plan).clone(memory_format=torch.contiguous_format)


def _plan(shape: tuple[int, ...], strides: tuple[int, ...], most: int, axis: int) -> Plan:
    """Sizes and strides of the view that is copied, the units' axis first."""
    if not shape or math.prod(shape) == 0:
        return tuple(shape), tuple(strides)
    axes = list(range(len(shape)))
    first = axis % len(shape) if len(shape) > 1 else 0
    room, taken = most, dict.fromkeys(axes, 1)
    # units first, then the batch, then positions: each gets its share of the room that is left
    order = [first] + [a for a in axes if a != first] if len(shape) > 1 else axes
    for done, a in enumerate(order):
        left = len(order) - done
        budget = UNITS if a == first and len(shape) > 1 else max(1, math.ceil(room ** (1 / left)))
        taken[a] = max(1, min(shape[a], budget, room))
        room = max(1, room // taken[a])
    sizes, steps = [], []
    for a in order:
        stride = math.ceil(shape[a] / taken[a])
        sizes.append(math.ceil(shape[a] / stride))
        steps.append(strides[a] * stride)
    return tuple(sizes), tuple(steps)


def flat(samples: Sequence[Tensor]) -> tuple[np.ndarray, np.ndarray]:
    """All samples in a row as float64, and where each begins."""
    if not samples:
        return np.zeros(0), np.zeros(0, np.int64)
    row = torch.cat([s.reshape(-1).to("cpu", torch.float32) for s in samples]).numpy().astype(np.float64)
    return row, np.cumsum([0, *(s.numel() for s in samples[:-1])])


def moments(samples: Sequence[Tensor]) -> dict[str, np.ndarray]:
    """mean, std, zeros and dead of each sample (none of them empty)."""
    row, starts = flat(samples)
    if not len(row):
        return {name: np.zeros(0) for name in ("mean", "std", "zeros", "dead")}
    counts = np.diff([*starts, len(row)])
    with np.errstate(invalid="ignore", over="ignore"):
        mean = np.add.reduceat(row, starts) / counts
        std = np.sqrt(np.add.reduceat((row - np.repeat(mean, counts)) ** 2, starts) / counts)
    zero = (row == 0).astype(np.float64)
    dead = [z.reshape(s.shape[0] if s.ndim > 1 else 1, -1).all(1).mean()
            for z, s in zip(np.split(zero, starts[1:]), samples, strict=True)]
    return {"mean": mean, "std": std, "zeros": np.add.reduceat(zero, starts) / counts, "dead": np.array(dead)}


def dots(one: Sequence[Tensor], other: Sequence[Tensor]) -> np.ndarray:
    """The inner product of each pair of samples."""
    a, starts = flat(one)
    b, _ = flat(other)
    with np.errstate(invalid="ignore", over="ignore"):
        return np.add.reduceat(a * b, starts) if len(a) else np.zeros(0)
