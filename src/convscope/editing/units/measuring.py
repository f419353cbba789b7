"""What an edit measures on the user's images: values of a draft, their mean and how they vary together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.fx import Interpreter, Node

from convscope.editing.draft import Draft
from convscope.editing.given import Given

MOST = 256  # images


class Kept(Interpreter):
    """Runs a draft and keeps the values of some nodes."""

    def __init__(self, draft: Draft, wanted: Iterable[Node]) -> None:
        super().__init__(draft.root)
        self.wanted, self.kept = set(wanted), dict[Node, Any]()

    def run_node(self, n: Node) -> Any:
        value = super().run_node(n)
        if n in self.wanted:
            self.kept[n] = value
        return value


def values(draft: Draft, x: Tensor, wanted: Iterable[Node]) -> dict[Node, Any]:
    """The values of these nodes for a batch (B, C, H, W), in evaluation mode."""
    runner = Kept(draft, wanted)
    with torch.no_grad():
        runner.run(x)
    return runner.kept


def moments(draft: Draft, given: Given, node: Node) -> tuple[int, Tensor, Tensor]:
    """How many values, their mean (C,) and mean outer product (C, C), over images and places: float64."""
    count, mean, square = 0, torch.zeros(()), torch.zeros(())
    for x in given.batches(draft.net, MOST):
        value = values(draft, x, [node])[node].double()
        flat = value.transpose(0, 1).flatten(1)  # (C, N·h·w)
        count, mean, square = count + flat.shape[1], mean + flat.sum(1), square + flat @ flat.T
    return count, mean / count, square / count
