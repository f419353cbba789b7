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
UNITS = 32  # of one tensor
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


def row(tensors: Sequence[Tensor | None], counts: Sequence[int], most: int) -> np.ndarray:
    """About `most` values of each tensor (`counts`: how many exactly), one after the other, as float64; none: zeros."""
    if not counts:
        return np.zeros(0)
    parts = [torch.zeros(n) if t is None else _thin(t, most) for t, n in zip(tensors, counts, strict=True)]
    return _joined(parts)


def _joined(parts: Sequence[Tensor]) -> np.ndarray:
    plain = [p if p.dtype == torch.float32 and p.device.type == "cpu" else p.to("cpu", torch.float64) for p in parts]
    return torch.cat(plain).numpy().astype(np.float64)


def counted(tensors: Sequence[Tensor], most: int) -> list[int]:
    """How many values `row` takes of each."""
    return [-(-t.numel() // _every(t.numel(), most)) for t in tensors]


def _every(size: int, most: int) -> int:
    step = -(-size // most)
    return step | 1 if step > 1 else 1  # odd, so that it does not keep to the even columns of a matrix


def _thin(tensor: Tensor, most: int) -> Tensor:
    flat = tensor.detach().to_dense().reshape(-1) if tensor.layout != torch.strided else tensor.detach().reshape(-1)
    step = _every(len(flat), most)
    return flat[::step] if step > 1 else flat


def moments(samples: Sequence[Tensor]) -> dict[str, np.ndarray]:
    """mean, std, zeros and dead of each sample (none of them empty)."""
    if not samples:
        return {name: np.zeros(0) for name in ("mean", "std", "zeros", "dead")}
    x = _joined([s.reshape(-1) for s in samples])
    counts = np.array([s.numel() for s in samples])
    units = np.array([s.shape[0] if s.ndim > 1 else 1 for s in samples])
    starts, of = np.cumsum(counts) - counts, np.cumsum(units) - units
    with np.errstate(invalid="ignore", over="ignore"):
        mean = np.add.reduceat(x, starts) / counts
        std = np.sqrt(np.add.reduceat((x - np.repeat(mean, counts)) ** 2, starts) / counts)
    zero = (x == 0).astype(np.float64)
    each = np.repeat(counts // units, units)
    silent = np.add.reduceat(zero, np.cumsum(each) - each) == each
    return {"mean": mean, "std": std, "zeros": np.add.reduceat(zero, starts) / counts,
            "dead": np.add.reduceat(silent.astype(np.float64), of) / units}
