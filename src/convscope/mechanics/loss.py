"""What the deltas are derivatives of: a loss on the network's output, or the score of a class.

    cross-entropy    L = −1/B · Σ_b log softmax(y_b)[label_b]        where the network gives scores (logits)
                     L = −1/B · Σ_b y_b[label_b]                     where it ends in a log-softmax
                     L = −1/B · Σ_b log y_b[label_b]                 where it ends in a softmax
    mse              L = mean of (y − target)²
    score            L = Σ_b y_b[label_b]                            (the deltas are then those of gradient maps)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from convscope.errors import DataError, ShapeError, UsageError
from convscope.network import Network

KINDS = ("cross-entropy", "mse", "score")
_ENDS = {"log_softmax": "log-probabilities", "_log_softmax": "log-probabilities", "softmax": "probabilities",
         "_softmax": "probabilities"}


@dataclass(frozen=True)
class Loss:
    """A loss with its targets: `labels` (B,) class indices, or for 'mse' `wanted` of the output's shape.

    `reduction`: 'mean' over the batch (for 'mse' over all numbers), or 'sum'. 'score' is always a sum.
    """

    kind: str = "cross-entropy"
    labels: tuple[int, ...] = ()
    wanted: Any = None  # (B, …) array for 'mse'
    reduction: str = "mean"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(f"no loss named {self.kind!r}", "", f"use one of {', '.join(KINDS)}")
        if self.reduction not in ("mean", "sum"):
            raise UsageError(f"no reduction named {self.reduction!r}", "", "use 'mean' or 'sum'")

    def of(self, net: Network, output: Tensor) -> Tensor:
        """The loss of an output (B, K), a scalar."""
        if self.kind == "mse":
            wanted = torch.as_tensor(self.wanted, dtype=output.dtype)
            if wanted.shape != output.shape:
                raise ShapeError(f"targets of shape {tuple(wanted.shape)} for an output of {tuple(output.shape)}", "",
                                 "the two must be equal")
            return F.mse_loss(output, wanted, reduction=self.reduction)
        flat = output.flatten(1)
        labels = self.checked(flat)
        if self.kind == "score":
            return flat[torch.arange(len(flat)), labels].sum()
        speaks = gives(net)
        if speaks == "scores":
            return F.cross_entropy(flat, labels, reduction=self.reduction)
        return F.nll_loss(flat if speaks == "log-probabilities" else flat.log(), labels, reduction=self.reduction)

    def checked(self, output: Tensor) -> Tensor:
        """The labels as a tensor, one an image."""
        if len(self.labels) != len(output):
            raise ShapeError(f"{len(self.labels)} labels for {len(output)} images", "", "give one label an image")
        wrong = [k for k in self.labels if not 0 <= k < output.shape[1]]
        if wrong:
            raise DataError(f"there is no class {wrong[0]}", f"the output has {output.shape[1]}",
                            f"labels are 0 … {output.shape[1] - 1}")
        return torch.tensor(self.labels)

    def describe(self, net: Network) -> str:
        """'cross-entropy with class 3, mean over 1 image; the output is read as scores'."""
        over = f"{self.reduction} over {len(self.labels)} image{'s' if len(self.labels) != 1 else ''}"
        if self.kind == "mse":
            return f"squared error, {self.reduction}"
        classes = ", ".join(map(str, self.labels[:4])) + (" …" if len(self.labels) > 4 else "")
        if self.kind == "score":
            return f"L is the score of class {classes}"
        return f"L is the cross-entropy with class {classes}, {over}; the output is read as {gives(net)}"


def gives(net: Network) -> str:
    """What the network's output is: 'scores', 'probabilities' or 'log-probabilities'."""
    return _ENDS.get(net.output.operator, "scores")
