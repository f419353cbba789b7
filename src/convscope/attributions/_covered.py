"""Scores of images of which a window is covered: only what differs is computed, where the network allows it.

A network that takes one size of batch only is run as a whole, window by window.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from convscope.attributions import _map
from convscope.fast import fast
from convscope.incremental.deltas import Differences
from convscope.incremental.executor import Incremental
from convscope.network import Network
from convscope.run import Target

Progress = Callable[[int, int, str], None]
Window = tuple[int, int, int, int]  # y0, y1, x0, x1
Shifts = Sequence[tuple[int, int]]  # rows and columns, a window
MEMORY = 2 << 30  # bytes for the changed passes, where nobody says how much
TRIED = 3  # windows that are also computed by full passes of the network itself, as a proof


class Covered:
    """One image x (1, C, H, W) and some targets, all of the output or all of one layer."""

    memory: int | None = None  # bytes for the changed passes; None: MEMORY

    def __init__(self, net: Network, x: Tensor, targets: Sequence[Target], batch: int, fast: bool = False) -> None:
        self.net, self.x, self.targets, self.batch = net, x, list(targets), batch
        unit = self.targets[0].unit
        self.stop = None if unit is None else unit.layer
        kind = Differences if fast else Incremental
        self.passes = kind(net, x, self.stop) if net.batch in (None, 1) else None
        self.clean = self._read(self.passes.clean)[0] if self.passes is not None else self._plain(x)[0]  # (targets,)

    def scores(self, windows: Sequence[Window], filled: Tensor, progress: Progress | None = None,
               shifts: Shifts | None = None) -> Tensor:
        """(N, targets) float64: each target's value where x shows `filled` inside each window, from `shifts` up and left."""
        if self.passes is not None:
            batch = min(self.batch, self.passes.batch_for(windows, MEMORY if self.memory is None else self.memory))
            return self.passes.covered(windows, filled, batch, progress, self._read, shifts)
        found: list[Tensor] = []
        for start in range(0, len(windows), self.batch):
            some = windows[start : start + self.batch]
            moves = None if shifts is None else shifts[start : start + self.batch]
            found.append(self._plain(covered(self.x[0], some, filled[0], moves)))
            if progress is not None:
                progress(start + len(some), len(windows), "windows")
        return torch.cat(found)

    def against_full(self, windows: Sequence[Window], filled: Tensor, found: Tensor, tried: int = TRIED,
                     shifts: Shifts | None = None) -> tuple[Tensor, Tensor]:
        """(n, targets) each: changes of the score found here and by full passes, on windows spread over the image."""
        picked = torch.linspace(0, len(windows) - 1, min(tried, len(windows))).long().tolist()
        moves = None if shifts is None else [shifts[i] for i in picked]
        images = covered(self.x[0], [windows[i] for i in picked], filled[0], moves)
        full = torch.stack([_map.scores(self.net, images, target, len(images)) for target in self.targets], 1)
        return found[picked] - self.clean, full.double().cpu() - self.clean

    def share(self, windows: Sequence[Window]) -> tuple[float, str]:
        """The share of a full pass that a window can change, and the first layer that it changes as a whole."""
        return (1.0, "") if self.passes is None else (self.passes.bound(windows), self.passes.takes_over(windows))

    def _read(self, value: Tensor) -> Tensor:
        return torch.stack([target.of(self.net, value) for target in self.targets], 1).double().cpu()

    def _plain(self, images: Tensor) -> Tensor:
        """(P, targets) by full passes: a fast private copy for classes, up to its layer for a unit."""
        if self.stop is not None:
            columns = [_map.scores(self.net, images, target, self.batch) for target in self.targets]
            return torch.stack(columns, 1).double().cpu()
        quick = fast(self.net, ())
        return torch.cat([self._read(quick.run(part))[:n] for part, n in _map.pieces(self.net, images, self.batch)])


def covered(image: Tensor, places: Sequence[Window], filled: Tensor, shifts: Shifts | None = None) -> Tensor:
    """(P, C, H, W): the image with each of the windows filled, with what stands `shifts` further up and left in `filled`."""
    batch = image.repeat(len(places), 1, 1, 1)
    for one, (y0, y1, x0, x1), (down, right) in zip(batch, places, shifts or [(0, 0)] * len(places), strict=True):
        one[:, y0:y1, x0:x1] = filled[:, y0 - down : y1 - down, x0 - right : x1 - right]
    return batch
