"""What one optimiser step did to the weights: norms, the direction, what was clipped; from samples of each parameter."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from convscope.watching.samples import Rows

if TYPE_CHECKING:
    from convscope.watching.tallies import Tallies
    from convscope.watching.window import Window

HALF = (torch.float16, torch.bfloat16)


def steps(windows: Sequence[Window], rows: Rows, tallies: Tallies) -> None:
    """Measure T steps of one optimiser at once: norms (T, parameters), gradient norm, direction, what was clipped."""
    before, after, slope = (np.stack([getattr(w, name).numpy() for w in windows])
                            for name in ("weights_before", "weights_after", "gradients_before"))
    with np.errstate(all="ignore"):
        change, before, slope = after.astype(np.float64) - before, before.astype(np.float64), slope.astype(np.float64)
        weight, moved, steep = (np.sqrt(rows.squares(x)) * rows.grown for x in (before, change, slope))
        ratio = moved / weight
        total, length = np.sqrt((steep**2).sum(1)), np.sqrt((moved**2).sum(1))
        along = (rows.squares(change, slope) * rows.grown**2).sum(1)
    for t, window in enumerate(windows):
        window.norms, window.gradient_norm = (weight[t], steep[t], ratio[t]), float(total[t])
        both = float(length[t] * total[t])
        if both > 0 and math.isfinite(both):
            tallies.cosines.append(float(along[t]) / both)
        if window.losses and window.behind is not None:
            _clipped(window, rows, float(total[t]), tallies)
        tallies.count["steps_without_change"] += window.same or not bool((moved[t] > 0).any() | ~np.isfinite(moved[t]).all())
        for j in window.half_gradients:
            part = slope[t, rows.starts[j]:rows.ends[j]]
            tallies.count["half_values"] += len(part)
            tallies.count["half_zeros"] += int((part == 0).sum())


def _clipped(window: Window, rows: Rows, total: float, tallies: Tallies) -> None:
    """The norm of the gradient right after the backward pass, against the one that the step used."""
    assert window.behind is not None
    assert window.gradients_before is not None
    there = window.behind.numpy()
    if there.tobytes() == window.gradients_before.numpy().tobytes():
        then = total / window.scale
    else:
        there = there.astype(np.float64)[None]
        with np.errstate(all="ignore"):
            then = float(np.sqrt((rows.squares(there) * rows.grown**2).sum())) / window.scale
    tallies.norms.append(then)
    if then > 0 and total > 0 and math.isfinite(then):
        tallies.clips.append(total / then)


def presence(window: Window, tallies: Tallies, owned: list[Tensor]) -> None:
    """Which parameters had a gradient at all, and which computed in half precision; while the gradients are there."""
    tallies.with_gradients += 1
    tallies.count["parameters_seen"] += len(owned)
    tallies.moved |= {id(p) for p in owned if id(p) not in tallies.moved and p.grad is not None and bool(p.grad.any())}
    halves = [p.dtype in HALF for p in owned]
    tallies.count["half_parameters"] += sum(halves)
    if window.halves or any(halves):
        window.half_gradients = [j for j, p in enumerate(owned)
                                 if p.grad is not None and (halves[j] or id(p) in window.halves)]


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
