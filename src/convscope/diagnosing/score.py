"""How good is it? Accuracy against always saying the most frequent class; R² against always saying the mean; loss against
the best constant answer. One sentence for all tasks: what of the way from the constant answer to the best has been gone?

    share = (value − constant) / (best − constant)        0: no better than a constant, 1: perfect
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from convscope.diagnosing.losses import LossFacts
from convscope.diagnosing.targets import Targets


@dataclass(frozen=True)
class Score:
    """`metric`: 'accuracy', 'R²' or 'loss'. `share` as above; NaN where it cannot be said."""

    metric: str
    value: float
    constant: float
    share: float
    examples: int
    answers: int = 0  # different classes answered

    @property
    def learned(self) -> bool:
        """Better than a constant, by more than chance would give (two standard errors, and a tenth of the way)."""
        if not math.isfinite(self.share):
            return False
        if self.metric == "accuracy":
            error = math.sqrt(self.constant * (1 - self.constant) / max(self.examples, 1))
            return self.value > self.constant + max(2 * error, 0.1 * (1 - self.constant))
        return self.share > 0.1

    @property
    def poor(self) -> bool:
        """As the studies of faulty programs count it: near the constant answer, or below 0.6 accuracy, or R² below 0.3."""
        if not math.isfinite(self.value):
            return True
        if self.metric == "accuracy":
            return self.value < max(self.constant + 0.1, 0.6) and self.value < 0.98
        return not self.share >= 0.3


def predictions(output: Tensor, targets: Targets, loss: LossFacts, last: str) -> Tensor | None:
    """(N, …) classes that outputs stand for; None where the task has none. `last`: the network's last operation."""
    if targets.kind not in ("indices", "one-hot", "binary", "multi-hot", "shares"):
        return None
    if output.ndim >= 2 and output.shape[1] > 1 and targets.kind in ("indices", "one-hot", "shares", "binary"):
        if targets.kind == "binary" and targets.numbers > 1 and tuple(output.shape[1:]) == targets.shape:
            return (output > _half(loss, last)).long()
        per_position = len(targets.shape) and output.shape[1:-1] == targets.shape and output.ndim > 2
        return output.argmax(
            -1 if per_position or (output.ndim == 3 and output.shape[:2] == (len(output), *targets.shape[:1])) else 1
        )
    if targets.kind in ("binary", "multi-hot"):
        return (output > _half(loss, last)).long()
    if targets.kind == "indices":
        return output.round().long()  # one number for a class index: read as it is
    return None


def _half(loss: LossFacts, last: str) -> float:
    """The threshold between no and yes: 0 for logits, a half for everything that lies in 0 … 1."""
    if last in ("sigmoid", "softmax"):
        return 0.5
    return 0.0 if loss.reads == "logits" else 0.5


def score(output: Tensor, y: Tensor | None, targets: Targets, loss: LossFacts, value: float, last: str) -> Score:
    """The score of outputs (N, …) whose loss is `value`."""
    n = len(output)
    if (
        y is not None
        and targets.kind == "values"
        and output.numel() == y.numel()
        and loss.family not in ("poisson", "kl", "nll")
    ):
        o, t = output.double().reshape(n, -1), y.double().reshape(n, -1)
        if targets.distinct == 2 and targets.low == -1 and targets.high == 1:  # yes and no as +1 and −1
            right, most = (
                float(((o > 0) == (t > 0)).double().mean()),
                float(torch.stack([(t > 0), (t < 0)]).double().mean((1, 2)).max()),
            )
            return Score(
                "accuracy", right, most, (right - most) / (1 - most) if most < 1 else math.nan, n, len(torch.unique(o > 0))
            )
        around = (t - t.mean(0)).square().sum()
        r2 = float(1 - (o - t).square().sum() / around.clamp(min=1e-30))
        return Score("R²", r2, 0.0, r2, n)
    chosen = None if y is None or loss.family in ("poisson", "kl") else predictions(output, targets, loss, last)
    if chosen is not None and y is not None:
        truth = y.argmax(1) if targets.kind in ("one-hot", "shares") else y.long()
        if chosen.numel() == truth.numel():
            chosen, truth = chosen.reshape(-1), truth.reshape(-1)
            right = float((chosen == truth).double().mean())
            counts = torch.bincount(truth.clamp(min=0))
            most = float(counts.max() / counts.sum())
            if most < 1:  # with one class alone accuracy says nothing: the loss is asked
                return Score("accuracy", right, most, (right - most) / (1 - most), n, len(torch.unique(chosen)))
    floor = loss.floor if math.isfinite(loss.floor) else 0.0
    way = loss.constant - floor
    share = (loss.constant - value) / way if math.isfinite(way) and way > 0 else math.nan
    return Score("loss", value, loss.constant, share, n)
