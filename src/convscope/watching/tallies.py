"""What a training loop is seen to do: counted, not judged. `plain()` gives `Run.loop`.

Everything is counted within the windows that were looked at (`observed` of `steps`), except steps, rates and BatchNorm's own
counters, which are seen at every step.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

SHRUNK = 0.999  # a gradient whose norm fell below this share of itself between backward and step was clipped


class Tallies:
    """Counters, filled by the eye and by the hooks of the optimisers."""

    def __init__(self) -> None:
        self.owned: list[list[Tensor]] = []  # parameters by optimiser
        self.clean: list[bool] = []  # by optimiser: its gradients were none or zero before a backward pass
        self.complete: list[bool] = []  # by optimiser: everything since its last step was seen
        self.count: Counter[str] = Counter()
        self.taken = 0  # steps
        self.detached: Counter[str] = Counter()
        self.batches: dict[int, None] = {}
        self.argmaxes: Counter[tuple[Any, int]] = Counter()
        self.softmaxes: Counter[tuple[str, Any, int]] = Counter()
        self.chain: dict[str, None] = {}
        self.per_step: list[int] = []
        self.clips: list[float] = []
        self.norms: list[float] = []
        self.cosines: list[float] = []
        self.rates: list[float] = []
        self.restarts: list[int] = []
        self.has_modes = False
        self.pending: list[list[bool]] = []
        self.moved: set[int] = set()  # ids of parameters that were seen with a gradient
        self.with_gradients = 0  # observed steps at which gradients were looked at
        self.nonfinite: dict[str, Any] = {}
        self.norm_updates: list[int] = []  # of batch norm's statistics before each step
        self.losses: list[tuple[int, float]] = []

    # --- told by the eye

    def batch(self, size: int) -> None:
        if len(self.batches) < 64:
            self.batches[int(size)] = None

    def forward(self, grad: bool, modes: Sequence[bool]) -> None:
        """A forward pass begins, with or without a graph; `modes`: of every module that has one."""
        self.count["forwards"] += 1
        if grad:
            self.pending.append(list(modes))
        else:
            self.count["forwards_no_grad"] += 1
            self.count["no_grad_train_mode"] += any(modes)
            self.count["no_grad_eval_mode"] += bool(modes) and not any(modes)

    def backward(self, loss: Tensor) -> None:
        """A backward pass is called."""
        self.count["backwards"] += 1
        self.count["loss_detached"] += loss.grad_fn is None
        if self.pending:
            modes = self.pending.pop()
            if modes:
                self.count["mode_train" if all(modes) else "mode_mixed" if any(modes) else "mode_eval"] += 1
            self.count["forwards_unused"] += len(self.pending)
            self.count["unused_train_mode"] += sum(any(m) for m in self.pending)
            self.pending.clear()

    def before_backward(self) -> None:
        for k, parameters in enumerate(self.owned):
            self.clean[k] = self.clean[k] or not any(_holds(p.grad) for p in parameters)

    def cut(self, layer: str) -> None:
        self.detached[layer] += 1

    def halves(self, half: bool) -> None:
        self.count["activations"] += 1
        self.count["half_activations"] += half

    def after_output(self, function: str) -> None:
        if len(self.chain) < 12:
            self.chain[function] = None

    def argmax(self, dim: int | None, ndim: int) -> None:
        self.argmaxes[(dim if dim is None or dim >= 0 else dim + ndim, ndim)] += 1

    def softmax(self, name: str, dim: int | None, ndim: int) -> None:
        self.softmaxes[(name, dim if dim is None or dim >= 0 else dim + ndim, ndim)] += 1

    def restarted(self) -> None:
        """A DataLoader begins anew (it draws a seed)."""
        at = self.taken
        if not self.restarts or self.restarts[-1] != at:
            self.restarts.append(at)

    # --- told by the watch

    def left_over(self, k: int) -> None:
        """Optimiser `k` is about to step: were its gradients cleared since its last step?"""
        if self.complete[k]:
            self.count["left_over"] += not self.clean[k]
            self.count["zero_grads"] += self.clean[k]

    def plain(self, **more: Any) -> dict[str, Any]:
        """JSON-able facts."""
        steps = self.taken
        keys = ("observed", "forwards", "backwards", "left_over", "zero_grads", "step_before_backward",
                "cleared_before_step", "steps_without_change", "loss_detached", "forwards_no_grad", "forwards_unused",
                "unused_train_mode", "mode_train", "mode_eval", "mode_mixed", "no_grad_train_mode", "no_grad_eval_mode")
        found: dict[str, Any] = {"steps": steps} | {key: int(self.count[key]) for key in keys}
        changes = sum(a != b for a, b in zip(self.rates[1:], self.rates, strict=False))
        spans = np.diff(self.restarts)
        halves = self.count["activations"] + self.count["parameters_seen"]
        return found | {
            "backwards_per_step": _median(self.per_step),
            "never_stepped": steps == 0 and self.count["forwards"] + self.count["backwards"] > 0,
            "detached": dict(self.detached),
            "has_modes": self.has_modes,
            "rate_first": self.rates[0] if self.rates else math.nan,
            "rate_last": self.rates[-1] if self.rates else math.nan,
            "rate_changes": changes,
            "rate_by_step": _thinned(self.rates, 200),
            "steps_per_epoch": int(np.median(spans)) if len(spans) else None,
            "clipped": float(np.mean([c < SHRUNK for c in self.clips])) if self.clips else math.nan,
            "clip_factor": _median(self.clips),
            "gradient_norm_before": _median(self.norms),
            "half": (self.count["half_activations"] + self.count["half_parameters"]) / halves if halves else 0.0,
            "underflow": self.count["half_zeros"] / self.count["half_values"] if self.count["half_values"] else math.nan,
            "batch_sizes": list(self.batches)[:5],
            "sign": _median(self.cosines),
            "loss_first": self.losses[0][1] if self.losses else math.nan,
            "loss_last": self.losses[-1][1] if self.losses else math.nan,
            "loss_nonfinite_step": next((step for step, loss in self.losses if not math.isfinite(loss)), None),
            "first_nonfinite": self.nonfinite or None,
            "output_argmax_dims": sorted({-1 if dim is None else dim for dim, _ in self.argmaxes}),
            "softmax_dims": [{"function": name, "dim": dim, "ndim": ndim, "calls": n, "over_batch": dim == 0 and ndim > 1}
                             for (name, dim, ndim), n in self.softmaxes.items()],
            "after_output": list(self.chain)} | more


def _holds(gradient: Tensor | None) -> bool:
    """Whether there is a gradient that is not zero."""
    return gradient is not None and bool(gradient.detach().any())


def _thinned(values: list[float], most: int) -> list[float]:
    return [values[i] for i in np.linspace(0, len(values) - 1, min(most, len(values))).astype(int)]


def _median(values: Sequence[float]) -> float:
    finite = [v for v in values if math.isfinite(v)]
    return float(np.median(finite)) if finite else math.nan
