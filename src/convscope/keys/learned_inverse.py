"""Learn the way back: a network trained on pairs of keyed and plain images, then shown keyed ones that it never saw.

    W* = argmin Σ ‖x − f_W(K·x)‖²  over the attacker's pairs        (inverter.py)

It needs no idea of the kind of key, only its block: blocks become positions of a map, their numbers its channels. Pairs are
what someone has who can hand in images and look at what is stored (a chosen-plaintext attack: Chang et al. 2020,
"Attacks on image encryption schemes for privacy-preserving deep neural networks").
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from convscope.errors import UsageError
from convscope.keys import blocks, inverter
from convscope.keys.inverter import Effort
from convscope.keys.known import Images, Known, Progress, Rebuilt


def by_learning(keyed: Images, known: Known, progress: Progress | None = None, effort: Effort | None = None) -> Rebuilt:
    """The images as the trained network rebuilds them. Errors: UsageError with fewer than two pairs."""
    if len(known.plain) < 2 or known.plain.shape != known.keyed.shape:
        raise UsageError("a way back is learned from pairs", f"got {known.plain.shape} and {known.keyed.shape}",
                         "give two images at least, plain and keyed")
    effort = effort or Effort()
    net = inverter.trained(_maps(known.keyed, known.block), torch.from_numpy(known.plain.astype(np.float32)), effort,
                           known.seed, progress)
    found = inverter.rebuilt(net, _maps(keyed, known.block))
    return Rebuilt(found, (f"learned inverse: {len(known.plain)} pairs, {effort.steps} steps of "
                           f"{min(effort.batch, len(known.plain))}, seed {known.seed}",))


def _maps(images: Images, side: int) -> Tensor:
    """(N, C, H, W) → (N, C·k·k, H/k, W/k): a block is a position, its numbers are the channels."""
    _, _, height, width = images.shape
    rows = blocks.split(images, side).transpose(0, 2, 1)
    return torch.from_numpy(np.ascontiguousarray(rows, np.float32).reshape(len(images), -1, height // side, width // side))
