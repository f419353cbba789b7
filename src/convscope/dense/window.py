"""The loop over windows, in batches: what the scan must equal, and what is exact for every network."""

from __future__ import annotations

import torch
from torch import Tensor

from convscope import run
from convscope.dense.axes import Grid
from convscope.dense.pieces import Grids
from convscope.network import Network

BATCH = 256


def loop(net: Network, x: Tensor, grids: Grids, batch: int = BATCH) -> Tensor:
    """(P·Q, K) the network's output for every window of (C, H, W), row by row."""
    places = [(y, q) for y in range(grids[0].count) for q in range(grids[1].count)]
    return at(net, x, places, grids, batch)


def at(net: Network, x: Tensor, places: list[tuple[int, int]], grids: Grids, batch: int = BATCH) -> Tensor:
    """The same for some windows, (row, column) of the grid each."""
    size = net.batch or batch
    found: list[Tensor] = []
    for first in range(0, len(places), size):
        some = cut(x, places[first : first + size], net.input_shape[2:], grids)
        missing = 0 if net.batch is None else net.batch - len(some)  # a network bound to its batch wants it full
        full = torch.cat([some, some[-1:].expand(missing, *some.shape[1:])]) if missing else some
        found.append(run.run(net, full).output.flatten(1)[: len(some)])
    return torch.cat(found)


def cut(x: Tensor, places: list[tuple[int, int]], size: tuple[int, ...], grids: tuple[Grid, Grid]) -> Tensor:
    """(N, C, n, m): the windows at these places."""
    n, m = size
    view = x.unfold(1, n, grids[0].stride).unfold(2, m, grids[1].stride)  # (C, P, Q, n, m)
    rows, columns = (torch.tensor(one) for one in zip(*places, strict=True))
    return view[:, rows, columns].transpose(0, 1).contiguous()
