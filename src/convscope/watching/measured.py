"""What one optimiser step did to the weights: norms, the direction, what was clipped; from samples of each parameter."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from convscope.watching.samples import dots, sample

if TYPE_CHECKING:
    from convscope.watching.eye import Window
    from convscope.watching.tallies import Tallies

HALF = (torch.float16, torch.bfloat16)


def step(window: Window, tallies: Tallies, k: int, most: int) -> bool:
    """Measure the step that optimiser `k` has just taken. Fills `window.parameters`; whether any sampled weight moved."""
    owned = tallies.owned[k]
    after = [sample(p, most, 0) for p in owned]
    before = [b for b, _ in window.before]
    change = [a.double() - b.double() for a, b in zip(after, before, strict=True)]
    gradients = [torch.zeros_like(b) if g is None else g for (b, g) in window.before]
    grown = np.array([math.sqrt(p.numel() / max(b.numel(), 1)) for p, b in zip(owned, before, strict=True)])
    weight = np.sqrt(dots(before, before)) * grown
    moved = np.sqrt(dots(change, change)) * grown
    slope = np.sqrt(dots(gradients, gradients)) * grown
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = moved / weight
    for j, p in enumerate(owned):
        window.parameters[id(p)] = (weight[j], slope[j], ratio[j])
    window.gradient_norm = float(np.sqrt((slope**2).sum()))
    both = float(np.sqrt((moved**2).sum())) * window.gradient_norm
    if both > 0 and math.isfinite(both):
        tallies.cosines.append(float((dots(change, gradients) * grown**2).sum()) / both)
    _clipping(window, tallies, owned, gradients)
    _presence(window, tallies, owned)
    return bool((moved > 0).any() or not np.isfinite(moved).all())


def _clipping(window: Window, tallies: Tallies, owned: list[Tensor], gradients: list[Tensor]) -> None:
    """The gradient's norm on the same samples, right after the backward pass and at the step."""
    pairs = [(window.behind[id(p)], g) for p, g in zip(owned, gradients, strict=True) if id(p) in window.behind]
    if not pairs or not window.losses:
        return
    then = math.sqrt(float(dots([a for a, _ in pairs], [a for a, _ in pairs]).sum())) / window.scale
    now = math.sqrt(float(dots([b for _, b in pairs], [b for _, b in pairs]).sum()))
    tallies.norms.append(then)
    if then > 0 and now > 0 and math.isfinite(then):
        tallies.clips.append(now / then)


def _presence(window: Window, tallies: Tallies, owned: list[Tensor]) -> None:
    """Which parameters had a gradient at all, and how much of it is zero in half precision."""
    tallies.with_gradients += 1
    for p, (_, gradient) in zip(owned, window.before, strict=True):
        half = p.dtype in HALF or id(p) in window.halves
        tallies.count["parameters_seen"] += 1
        tallies.count["half_parameters"] += p.dtype in HALF
        if gradient is None:
            continue
        if half:
            tallies.count["half_values"] += gradient.numel()
            tallies.count["half_zeros"] += int((gradient == 0).sum())
        if id(p) not in tallies.moved and (bool(gradient.any()) or (p.grad is not None and bool(p.grad.any()))):
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
