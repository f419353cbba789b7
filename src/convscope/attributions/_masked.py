"""Scores of one image seen through many masks: x ⊙ M + x̄ ⊙ (1 − M), with x̄ what a mask fades to."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from convscope.attributions import _map
from convscope.fast import fast
from convscope.network import Network
from convscope.run import Target

Progress = Callable[[int, int, str], None]
Score = Callable[[Tensor], Tensor]


def scorer(net: Network, target: Target, size: int) -> Score:
    """Images (N, C, H, W) -> scores (N,). A class: by a fast private copy; a unit: by running up to its layer only."""
    if target.unit is not None:
        return lambda batch: _map.scores(net, batch, target, size)
    quick = fast(net, ())
    return lambda batch: torch.cat(
        [target.of(net, quick.run(part))[:count] for part, count in _map.pieces(net, batch, size)])


def through(score: Score, image: Tensor, faded: Tensor, masks: Iterator[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    """For each run of masks (n, 1, H, W): the masks and the scores (n,) of `image` (C, H, W) seen through them."""
    for some in masks:
        yield some, score(image * some + faded * (1 - some)).double().cpu()
