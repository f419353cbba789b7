"""What one optimiser step did to the weights: norms, the direction, what was clipped; from samples of each parameter."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from convscope.watching.samples import counted, row

if TYPE_CHECKING:
    from convscope.watching.eye import Window
    from convscope.watching.tallies import Tallies

HALF = (torch.float16, torch.bfloat16)


def step(window: Window, tallies: Tallies, k: int, most: int) -> bool:
    """Measure the step that optimiser `k` has just taken. Fills `window.parameters`; whether any sampled weight moved."""
    owned = tallies.owned[k]
    assert window.weights_before is not None
    assert window.gradients_before is not None
    counts = np.array(counted(owned, most))
    starts, grown = np.cumsum(counts) - counts, np.sqrt([p.numel() for p in owned] / np.maximum(counts, 1))
    before, slope = window.weights_before, window.gradients_before
    change = row(owned, counts.tolist(), most) - before

    def norm(x: np.ndarray) -> np.ndarray:
        return np.sqrt(np.add.reduceat(x * x, starts)) * grown if len(x) else np.zeros(0)

    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        weight, moved, steep = norm(before), norm(change), norm(slope)
        ratio = moved / weight
        total = float(np.sqrt((steep**2).sum()))
        both = float(np.sqrt((moved**2).sum())) * total
        if both > 0 and math.isfinite(both):
            tallies.cosines.append(float((np.add.reduceat(change * slope, starts) * grown**2).sum()) / both)
        if window.losses and k < len(window.behind):
            there = window.behind[k]
            then = float(np.sqrt((norm(there) ** 2).sum())) / window.scale
            tallies.norms.append(then)
            if then > 0 and total > 0 and math.isfinite(then):
                tallies.clips.append(total / then)
    for j, p in enumerate(owned):
        window.parameters[id(p)] = (weight[j], steep[j], ratio[j])
    window.gradient_norm = total
    _presence(window, tallies, owned, np.add.reduceat(slope != 0, starts, dtype=np.int64) if len(slope) else starts, counts)
    return bool((moved > 0).any() or not np.isfinite(moved).all())


def _presence(window: Window, tallies: Tallies, owned: list[Tensor], there: np.ndarray, counts: np.ndarray) -> None:
    """Which parameters had a gradient at all, and how much of it is zero in half precision."""
    tallies.with_gradients += 1
    tallies.count["parameters_seen"] += len(owned)
    for p, some, n in zip(owned, there.tolist(), counts.tolist(), strict=True):
        if p.dtype in HALF:
            tallies.count["half_parameters"] += 1
        if p.grad is not None and (p.dtype in HALF or id(p) in window.halves):
            tallies.count["half_values"] += n
            tallies.count["half_zeros"] += n - some
        if id(p) not in tallies.moved and (some or (p.grad is not None and bool(p.grad.any()))):
            tallies.moved.add(id(p))


def facts(model: nn.Module, tallies: Tallies) -> dict[str, Any]:
    """What follows from model and optimisers at the end: who owns what, what was frozen, what never had a gradient."""
    named = dict(model.named_parameters())
    theirs = {id(p) for owned in tallies.owned for p in owned}
    ours = {id(p) for p in named.values()}
    return {
        "unowned": [n for n, p in named.items() if p.requires_grad and theirs and id(p) not in theirs],
        "foreign": len(theirs - ours),
        "frozen": [n for n, p in named.items() if not p.requires_grad],
        "parameters": len(named),
        "no_gradient": [n for n, p in named.items() if p.requires_grad and id(p) in theirs and id(p) not in tallies.moved]
        if tallies.with_gradients else []}


def compiled(model: nn.Module) -> bool:
    """Whether a part of the model is compiled or scripted: torch functions inside it are not called from Python."""
    return any(type(m).__name__ == "OptimizedModule" or getattr(m, "_compiled_call_impl", None) is not None
               or isinstance(m, torch.jit.ScriptModule) for m in model.modules())


def norms(model: nn.Module) -> Tensor | None:
    """The counter of the model's first batch norm that keeps statistics."""
    for m in model.modules():
        if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.num_batches_tracked is not None:
            return m.num_batches_tracked
    return None
