"""A few values of a large tensor, evenly spaced, and what they say about all of it.

    t (B, U, …)  →  (u, m): u units, m values of each from the whole batch and all positions, u·m ≤ most

    mean = Σ x/n     std = √(Σ (x − mean)²/n)     zeros = share of x = 0     dead = share of units whose m values are all 0

The stride is fixed by the shape, so nothing random is drawn. Means and shares are those of the sample: a unit that is zero
at all m values looks dead though it may answer somewhere between them. Norms are scaled: ‖t‖ ≈ ‖sample‖·√(numel/n).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

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


class Rows:
    """About `most` values of each of a fixed list of tensors, one after the other in one row (N,), by a single `cat`.

    Views of the tensors are kept from call to call and made anew where a tensor has moved to another storage.
    """

    def __init__(self, tensors: Sequence[Tensor], most: int) -> None:
        self.tensors = list(tensors)
        self.index = {id(t): j for j, t in enumerate(self.tensors)}
        self.every = [_every(t.numel(), most) for t in self.tensors]
        self.counts = np.array([-(-t.numel() // e) for t, e in zip(self.tensors, self.every, strict=True)], np.int64)
        self.ends = np.cumsum(self.counts)
        self.starts = self.ends - self.counts
        self.grown = np.sqrt([t.numel() / max(n, 1) for t, n in zip(self.tensors, self.counts, strict=True)])
        self._views: list[Tensor] = [torch.empty(0)] * len(self.tensors)
        self._at = [-1] * len(self.tensors)  # where each view lies; −1: it is no view
        self._none: dict[int, Tensor] = {}

    def values(self) -> Tensor:
        """Of the tensors themselves; a copy."""
        for j, t in enumerate(self.tensors):
            if self._at[j] == -1 or self._at[j] != t.data_ptr():
                plain = type(t) in (Tensor, nn.Parameter) and t.layout == torch.strided and t.is_contiguous()
                self._views[j], self._at[j] = _thin(t, self.every[j]), t.data_ptr() if plain else -1
        return joined(self._views)

    def gradients(self) -> Tensor:
        """Of their gradients; zeros where there is none; a copy."""
        parts: list[Tensor] = []
        for j, t in enumerate(self.tensors):
            g, every = t.grad, self.every[j]
            if g is None:
                if j not in self._none:
                    self._none[j] = t.detach().new_zeros(int(self.counts[j]))
                parts.append(self._none[j])
            elif g.layout == torch.strided and g.is_contiguous():
                whole = every == 1 and g.ndim == 1
                parts.append(g if whole else torch.as_strided(g, (int(self.counts[j]),), (every,)))
            else:
                parts.append(_thin(g, every))
        return joined(parts)

    def squares(self, rows: np.ndarray, others: np.ndarray | None = None) -> np.ndarray:
        """(T, N) → (T, tensors): the inner products over each tensor's values, float64."""
        others = rows if others is None else others
        spans = zip(self.starts.tolist(), self.ends.tolist(), strict=True)
        found = [np.einsum("tn,tn->t", rows[:, a:b], others[:, a:b]) for a, b in spans]
        return np.stack(found, 1) if found else rows[:, :0]


def joined(parts: list[Tensor]) -> Tensor:
    """One row of all, detached; float32 on the CPU where all are alike, else float64."""
    if not parts:
        return torch.empty(0)
    first = parts[0]
    dtype, device = first.dtype, first.device
    if all(p.dtype is dtype and p.device == device for p in parts):
        row = torch.cat(parts).detach()
        return row if dtype == torch.float32 and device.type == "cpu" else row.to("cpu", torch.float64)
    return torch.cat([p.detach().to("cpu", torch.float64) for p in parts])


def _every(size: int, most: int) -> int:
    step = -(-size // most)
    return step | 1 if step > 1 else 1  # odd, so that it does not keep to the even columns of a matrix


def _thin(tensor: Tensor, every: int) -> Tensor:
    flat = tensor.detach().to_dense().reshape(-1) if tensor.layout != torch.strided else tensor.detach().reshape(-1)
    return flat[::every] if every > 1 else flat


def moments(samples: Sequence[Tensor], zeros: Sequence[bool] | None = None) -> dict[str, np.ndarray]:
    """mean, std, zeros and dead of each sample (none of them empty); the last two NaN where `zeros` is not asked for."""
    found = {name: np.full(len(samples), np.nan) for name in ("mean", "std", "zeros", "dead")}
    alike: dict[tuple[Any, ...], list[int]] = {}
    for j, s in enumerate(samples):
        alike.setdefault((s.shape, s.dtype, s.device, zeros is None or zeros[j]), []).append(j)
    for (shape, *_, asked), at in alike.items():  # samples of one shape in one reduction
        units = shape[0] if len(shape) > 1 else 1
        x = torch.stack([samples[j] for j in at]).to("cpu", torch.float64).numpy().reshape(len(at), -1)
        n = x.shape[1]
        if asked:
            zero = np.einsum("gum->gu", (x == 0).astype(np.float32).reshape(len(at), units, -1))
            found["zeros"][at] = zero.sum(1, dtype=np.float64) / n
            found["dead"][at] = (zero == n // units).mean(1)
        with np.errstate(invalid="ignore", over="ignore"):
            mean = np.einsum("gn->g", x) / n
            x -= mean[:, None]
            found["mean"][at], found["std"][at] = mean, np.sqrt(np.einsum("gn,gn->g", x, x) / n)
    return found
