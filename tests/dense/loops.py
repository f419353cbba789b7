"""A slow twin of the scan: every window cut out by hand and given to the user's own module."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def window_by_window(module: nn.Module, x: Tensor, size: tuple[int, int], stride: int = 1) -> Tensor:
    """(P, Q, K) from (C, H, W)."""
    n, m = size
    rows = range(0, x.shape[1] - n + 1, stride)
    columns = range(0, x.shape[2] - m + 1, stride)
    with torch.no_grad():
        found = module(torch.stack([x[:, y : y + n, q : q + m] for y in rows for q in columns]))
    return found.unflatten(0, (len(rows), len(columns)))
